"""Read token usage from the wire and write it in LangSmith's and the GenAI convention's terms.

Input: the ``usage`` object of ``response.done`` or of a completed input transcription. Output: totals
and details by modality. The rules:

1. As the server counts, ``text + audio + image`` of one direction is its total. Nothing is ever
   added to anything else.
2. ``cached_tokens`` is the part of the input that was read from the prompt cache, not an addition.
3. ``reasoning_tokens`` is counted inside the text tokens already and is not read.
4. A count that is not a non-negative integer is treated as absent. An absent count stays absent;
   only the two totals default to 0, and only if one of them is present.
5. A transcription that is billed by duration has seconds of audio instead of tokens.

Sources: ``response.usage`` at
https://platform.openai.com/docs/api-reference/realtime-server-events/response/done;
``usage_metadata`` at https://docs.langchain.com/langsmith/log-llm-trace; ``gen_ai.usage.*`` at
https://github.com/open-telemetry/semantic-conventions-genai.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypedDict

from otel_realtime.core.protocol.events import JsonMapping
from otel_realtime.core.protocol.json_values import object_or_empty

#: The modalities that the Realtime API counts; each is a key ``<modality>_tokens`` of the details.
MODALITIES: Final = ("text", "audio", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one model call.

    Attributes:
        input: Input tokens in total, cached ones included.
        output: Output tokens in total.
        total: Both together, as the server counts them.
        input_by_modality: Input tokens by modality (``text``, ``audio``, ``image``).
        output_by_modality: Output tokens by modality.
        cached: Input tokens read from the prompt cache; None if not reported.
        cached_by_modality: The same by modality.
    """

    input: int
    output: int
    total: int
    input_by_modality: Mapping[str, int]
    output_by_modality: Mapping[str, int]
    cached: int | None
    cached_by_modality: Mapping[str, int]


class UsageMetadata(TypedDict, total=False):
    """LangSmith's ``usage_metadata``; every value is an int, as its cost calculation requires."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_token_details: dict[str, int]
    output_token_details: dict[str, int]


def read_usage(usage: object) -> Usage | None:
    """Read the ``usage`` of a response, or the token usage of a transcription.

    Returns:
        The counts, or None if there are none: null (a response that was cancelled before any
        output), or usage that is billed by duration.
    """
    if not isinstance(usage, dict) or usage.get("type") == "duration":
        return None
    tokens_in, tokens_out = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    if tokens_in is None and tokens_out is None:
        return None
    tokens_in, tokens_out = tokens_in or 0, tokens_out or 0
    total = _count(usage.get("total_tokens"))
    details_in = object_or_empty(usage.get("input_token_details"))
    return Usage(
        input=tokens_in,
        output=tokens_out,
        total=tokens_in + tokens_out if total is None else total,
        input_by_modality=_by_modality(details_in),
        output_by_modality=_by_modality(object_or_empty(usage.get("output_token_details"))),
        cached=_count(details_in.get("cached_tokens")),
        cached_by_modality=_by_modality(object_or_empty(details_in.get("cached_tokens_details"))),
    )


def audio_seconds(usage: object) -> float | None:
    """Return the seconds of audio of a transcription that is billed by duration, else None."""
    if isinstance(usage, dict) and usage.get("type") == "duration":
        seconds = usage.get("seconds")
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            # The upper bound also excludes infinity, which Python's JSON decoder accepts.
            return float(seconds) if 0 <= seconds < 2**53 else None
    return None


def usage_metadata(usage: Usage) -> UsageMetadata:
    """Return the usage as LangSmith's ``usage_metadata``."""
    details_in: dict[str, int] = dict(usage.input_by_modality)
    if usage.cached is not None:
        details_in["cache_read"] = usage.cached
    metadata: UsageMetadata = {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "total_tokens": usage.total,
    }
    if details_in:
        metadata["input_token_details"] = details_in
    if usage.output_by_modality:
        metadata["output_token_details"] = dict(usage.output_by_modality)
    return metadata


def usage_attributes(usage: Usage) -> dict[str, int]:
    """Return the ``gen_ai.usage.*`` attributes, keyed without that prefix.

    The totals and ``cache_read`` are the convention's; the split by modality is proposed to it.
    """
    attributes = {"input_tokens": usage.input, "output_tokens": usage.output}
    if usage.cached is not None:
        attributes["cache_read.input_tokens"] = usage.cached
    for modality, count in usage.input_by_modality.items():
        attributes[f"{modality}.input_tokens"] = count
    for modality, count in usage.output_by_modality.items():
        attributes[f"{modality}.output_tokens"] = count
    for modality, count in usage.cached_by_modality.items():
        attributes[f"{modality}.cache_read.input_tokens"] = count
    return attributes


def _by_modality(details: JsonMapping) -> dict[str, int]:
    counts = {modality: _count(details.get(f"{modality}_tokens")) for modality in MODALITIES}
    return {modality: count for modality, count in counts.items() if count is not None}


def _count(value: object) -> int | None:
    # An OTel integer attribute is a signed 64-bit integer.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    return None
