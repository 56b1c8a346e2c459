"""Computes the token usage of a call, by model call and by model.

Counts include cached tokens, as in ``gen_ai.usage.*``: cached audio tokens also count as audio tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact
from otel_realtime.calls.rows import Row, integer, number
from otel_realtime.calls.schema import InputTokens, OutputTokens, Usage

#: Model of a call that names none.
_UNKNOWN: Final = "unknown"


def usage_of(row: Row) -> Usage | None:
    """Return the usage of a model call; None for any other span, or if the span has no usage."""
    if row.text(names.OPERATION) != "chat":
        return None

    def count(key: str) -> int | None:
        return integer(row.attributes.get(names.USAGE + key))

    seconds = number(row.fact(Fact.TRANSCRIPTION_SECONDS))
    given = count("input_tokens"), count("output_tokens"), seconds
    if all(value is None for value in given):
        return None
    return {
        "model": row.text(names.RESPONSE_MODEL) or row.text(names.REQUEST_MODEL) or _UNKNOWN,
        "input": {
            "total": count("input_tokens"),
            "text": count("text.input_tokens"),
            "audio": count("audio.input_tokens"),
            "image": count("image.input_tokens"),
            "cached": count("cache_read.input_tokens"),
            "cached_text": count("text.cache_read.input_tokens"),
            "cached_audio": count("audio.cache_read.input_tokens"),
            "cached_image": count("image.cache_read.input_tokens"),
        },
        "output": {
            "total": count("output_tokens"),
            "text": count("text.output_tokens"),
            "audio": count("audio.output_tokens"),
            "reasoning": count("reasoning.output_tokens"),
        },
        "seconds": seconds,
    }


def per_model(used: Iterable[Usage]) -> list[Usage]:
    """Return the sums by model, ordered by each model's first call."""
    by_model: dict[str, list[Usage]] = {}
    for one in used:
        by_model.setdefault(one["model"], []).append(one)
    return [added(calls) for calls in by_model.values()]


def added(used: Sequence[Usage]) -> Usage:
    """Return the sum over calls of one model; a count that no call has stays None."""
    inputs = [one["input"] for one in used]
    outputs = [one["output"] for one in used]
    input_tokens: InputTokens = {
        "total": _sum(one["total"] for one in inputs),
        "text": _sum(one["text"] for one in inputs),
        "audio": _sum(one["audio"] for one in inputs),
        "image": _sum(one["image"] for one in inputs),
        "cached": _sum(one["cached"] for one in inputs),
        "cached_text": _sum(one["cached_text"] for one in inputs),
        "cached_audio": _sum(one["cached_audio"] for one in inputs),
        "cached_image": _sum(one["cached_image"] for one in inputs),
    }
    output_tokens: OutputTokens = {
        "total": _sum(one["total"] for one in outputs),
        "text": _sum(one["text"] for one in outputs),
        "audio": _sum(one["audio"] for one in outputs),
        "reasoning": _sum(one["reasoning"] for one in outputs),
    }
    seconds = [one["seconds"] for one in used if one["seconds"] is not None]
    return {
        "model": used[0]["model"],
        "input": input_tokens,
        "output": output_tokens,
        "seconds": round(sum(seconds), 6) if seconds else None,
    }


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
