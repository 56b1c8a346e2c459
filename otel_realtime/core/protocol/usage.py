"""Token usage: the wire's ``usage`` object as totals and a split that partitions them.

``cached_tokens`` are a part of the input, ``reasoning_tokens`` are counted inside the text
tokens: neither is added to anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MODALITIES: Final = ("text", "audio", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one model call.

    Attributes:
        input, output, total: totals.
        input_by, output_by: tokens by modality (``text``, ``audio``, ``image``).
        cached: input tokens that came from the cache; ``cached_by`` by modality.
    """

    input: int
    output: int
    total: int
    input_by: Mapping[str, int]
    output_by: Mapping[str, int]
    cached: int | None
    cached_by: Mapping[str, int]


def read_usage(usage: object) -> Usage | None:
    """Read ``response.usage`` or a transcription's token usage; None when there is none."""
    if not isinstance(usage, dict) or usage.get("type") == "duration":
        return None
    tokens_in, tokens_out = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    if tokens_in is None and tokens_out is None:
        return None
    tokens_in, tokens_out = tokens_in or 0, tokens_out or 0
    total = _count(usage.get("total_tokens"))
    details_in = _table(usage.get("input_token_details"))
    return Usage(
        input=tokens_in,
        output=tokens_out,
        total=tokens_in + tokens_out if total is None else total,
        input_by=_by_modality(details_in),
        output_by=_by_modality(_table(usage.get("output_token_details"))),
        cached=_count(details_in.get("cached_tokens")),
        cached_by=_by_modality(_table(details_in.get("cached_tokens_details"))),
    )


def audio_seconds(usage: object) -> float | None:
    """Seconds of audio of a transcription that is billed by duration."""
    if isinstance(usage, dict) and usage.get("type") == "duration":
        seconds = usage.get("seconds")
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            return float(seconds) if 0 <= seconds < 2**53 else None
    return None


def usage_metadata(usage: Usage) -> dict[str, Any]:
    """LangSmith's ``usage_metadata``: totals and details, all ints."""
    details_in: dict[str, int] = dict(usage.input_by)
    if usage.cached is not None:
        details_in["cache_read"] = usage.cached
    found: dict[str, Any] = {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "total_tokens": usage.total,
    }
    if details_in:
        found["input_token_details"] = details_in
    if usage.output_by:
        found["output_token_details"] = dict(usage.output_by)
    return found


def usage_attributes(usage: Usage) -> dict[str, int]:
    """``gen_ai.usage.*`` without the prefix: the convention's totals and the proposed split."""
    found = {"input_tokens": usage.input, "output_tokens": usage.output}
    if usage.cached is not None:
        found["cache_read.input_tokens"] = usage.cached
    found.update({f"{name}.input_tokens": count for name, count in usage.input_by.items()})
    found.update({f"{name}.output_tokens": count for name, count in usage.output_by.items()})
    found.update(
        {f"{name}.cache_read.input_tokens": count for name, count in usage.cached_by.items()}
    )
    return found


def _by_modality(details: Mapping[str, Any]) -> dict[str, int]:
    counts = {name: _count(details.get(f"{name}_tokens")) for name in MODALITIES}
    return {name: count for name, count in counts.items() if count is not None}


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    return None
