"""Read token usage from the wire and convert it to LangSmith's and the GenAI convention's shapes.

Input: the ``usage`` object of ``response.done`` or of a completed input transcription. Output: totals
and details by modality. The rules:

1. The totals are what the server bills, and are never changed.
2. In the server's counts, ``text + audio + image`` of one direction equals its total. If a server's
   details do not add up, they are corrected: tokens that no modality claims count as text, and an
   excess is subtracted from text first, then from images. A direction without any details gets none.
3. ``cached_tokens`` is the part of the input that was read from the prompt cache, not an addition to
   it. ``cached_tokens_details`` splits it by modality. Cached tokens that the details do not assign
   (all, if the details are absent) are assigned to text first, then to audio, then to images: a cache
   holds the beginning of a prompt, which is instructions and tools, and in this order the estimated
   bill is never too low.
4. ``reasoning_tokens`` are included in the output's text tokens.
5. A count that is not a non-negative integer is treated as absent. If only one of the totals of input
   and output is present, the other one is 0.
6. A transcription that is billed by duration reports seconds of audio instead of tokens.

LangSmith requires *disjoint* details: it prices each detail at its own rate, and the rest of the total
at the model's base rate. So an audio token that was read from the cache counts only as ``cache_read``,
and a reasoning token only as ``reasoning``.

Sources: ``response.usage`` at
https://platform.openai.com/docs/api-reference/realtime-server-events/response/done;
``usage_metadata`` at https://docs.langchain.com/langsmith/log-llm-trace and its prices at
https://docs.langchain.com/langsmith/cost-tracking; ``gen_ai.usage.*`` at
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
#: Order in which counts are accepted if the modalities claim more than the total; rule 2.
_BELIEVED: Final = ("audio", "image", "text")
#: Order in which cached tokens are assigned if the server does not assign them; rule 3.
_CACHED_FIRST: Final = ("text", "audio", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one model call.

    Attributes:
        input: Input tokens in total, including cached ones.
        output: Output tokens in total.
        total: Input and output tokens together, as the server counts them.
        input_by_modality: Input tokens by modality (``text``, ``audio``, ``image``).
        output_by_modality: Output tokens by modality.
        cached: Input tokens read from the prompt cache; None if not reported.
        cached_by_modality: Cached tokens by modality; empty if the server does not split them.
        reasoning: Output tokens spent on reasoning, included in the text tokens; None if not reported.
    """

    input: int
    output: int
    total: int
    input_by_modality: Mapping[str, int]
    output_by_modality: Mapping[str, int]
    cached: int | None
    cached_by_modality: Mapping[str, int]
    reasoning: int | None = None


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
        The counts, or None if there are none: ``usage`` is null (a response that was cancelled before
        any output), or it is billed by duration.
    """
    if not isinstance(usage, dict) or usage.get("type") == "duration":
        return None
    tokens_in, tokens_out = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    if tokens_in is None and tokens_out is None:
        return None
    tokens_in, tokens_out = tokens_in or 0, tokens_out or 0
    total = _count(usage.get("total_tokens"))
    details_in = object_or_empty(usage.get("input_token_details"))
    details_out = object_or_empty(usage.get("output_token_details"))
    cached_details = _by_modality(object_or_empty(details_in.get("cached_tokens_details")))
    cached = _count(details_in.get("cached_tokens"))
    if cached is None and cached_details:
        cached = sum(cached_details.values())
    if cached is not None:
        cached = min(cached, tokens_in)
    split_in, split_out = (
        _completed(tokens_in, _by_modality(details_in)),
        _completed(tokens_out, _by_modality(details_out)),
    )
    if cached_details:
        cached_details = _cached_split(
            cached or 0, cached_details, split_in or partition(tokens_in, cached_details)
        )
    reasoning = _count(details_out.get("reasoning_tokens"))
    if reasoning is not None:
        reasoning = min(reasoning, split_out.get("text", 0) if split_out else tokens_out)
    return Usage(
        input=tokens_in,
        output=tokens_out,
        total=tokens_in + tokens_out if total is None else total,
        input_by_modality=split_in,
        output_by_modality=split_out,
        cached=cached,
        cached_by_modality=cached_details,
        reasoning=reasoning,
    )


def _completed(total: int, reported: Mapping[str, int]) -> dict[str, int]:
    """Return a split by modality that adds up to the total; empty if none was reported."""
    if not reported:
        return {}
    split = {**dict.fromkeys(reported, 0), **partition(total, reported)}
    return {modality: split[modality] for modality in MODALITIES if modality in split}


def partition(total: int, split: Mapping[str, int]) -> dict[str, int]:
    """Return a split by modality that adds up to the total, without zeros; see rule 2."""
    counts, rest = {}, total
    for modality in _BELIEVED:
        counts[modality] = min(split.get(modality, 0), rest)
        rest -= counts[modality]
    counts["text"] += rest
    return {modality: count for modality, count in counts.items() if count}


def _cached_split(
    cached: int, reported: Mapping[str, int], split: Mapping[str, int]
) -> dict[str, int]:
    """Return the cached tokens by modality, each at most that modality's input; see rule 3.

    Args:
        cached: All cached tokens, at most the sum of ``split``.
        reported: Cached tokens by modality as reported.
        split: Input tokens by modality.
    """
    counts, rest = dict.fromkeys(reported, 0), cached
    for modality in _BELIEVED:
        if modality in reported:
            counts[modality] = min(reported[modality], split.get(modality, 0), rest)
            rest -= counts[modality]
    for modality in _CACHED_FIRST:
        more = min(rest, split.get(modality, 0) - counts.get(modality, 0))
        if more:
            counts[modality] = counts.get(modality, 0) + more
            rest -= more
    return counts


def audio_seconds(usage: object) -> float | None:
    """Return the seconds of audio of a transcription that is billed by duration, else None."""
    if isinstance(usage, dict) and usage.get("type") == "duration":
        seconds = usage.get("seconds")
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            # The upper bound also excludes infinity, which Python's JSON decoder accepts.
            return float(seconds) if 0 <= seconds < 2**53 else None
    return None


def usage_metadata(usage: Usage) -> UsageMetadata:
    """Return the usage as LangSmith's ``usage_metadata``, in which no token counts in two details."""
    metadata: UsageMetadata = {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "total_tokens": usage.total,
    }
    details_in, details_out = dict(usage.input_by_modality), dict(usage.output_by_modality)
    if usage.cached and not details_in:
        details_in = partition(usage.input, usage.cached_by_modality)
    if usage.reasoning and not details_out:
        details_out = partition(usage.output, {})
    if usage.cached is not None and details_in:
        cached = _cached_split(usage.cached, usage.cached_by_modality, details_in)
        for modality, count in cached.items():
            details_in[modality] = details_in.get(modality, 0) - count
        details_in["cache_read"] = usage.cached
    if usage.reasoning is not None and details_out:
        details_out["text"] = details_out.get("text", 0) - usage.reasoning
        details_out["reasoning"] = usage.reasoning
    if details_in:
        metadata["input_token_details"] = details_in
    if details_out:
        metadata["output_token_details"] = details_out
    return metadata


def usage_attributes(usage: Usage) -> dict[str, int]:
    """Return the ``gen_ai.usage.*`` attributes, keyed without that prefix.

    The totals, ``cache_read`` and ``reasoning`` are the convention's; the split by modality is
    proposed to it (https://github.com/open-telemetry/semantic-conventions-genai/pull/394). Here the counts
    are not disjoint: cached audio also counts as audio, and reasoning also counts as text.
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
    if usage.reasoning is not None:
        attributes["reasoning.output_tokens"] = usage.reasoning
    return attributes


def _by_modality(details: JsonMapping) -> dict[str, int]:
    counts = {modality: _count(details.get(f"{modality}_tokens")) for modality in MODALITIES}
    return {modality: count for modality, count in counts.items() if count is not None}


def _count(value: object) -> int | None:
    # An OTel integer attribute is a signed 64-bit integer.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    return None
