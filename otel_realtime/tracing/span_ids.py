"""Span ids that another process can compute, for spans that are written only when complete.

A model call's span starts and ends in one step, seconds after its response. If the process dies
between that step and the next line of the journal, it is unknown whether the span was sent. So its
id is derived from the conversation and the response: a recovery that writes the span again writes
the same span. Other spans have ids from the provider, which the journal has from their start.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, Final

from opentelemetry.trace import Tracer


class _Next(threading.local):
    id: int | None = None


_next: Final = _Next()


def derived_id(trace_id: int, root_span_id: int, key: str) -> int:
    """Return the id of the span that has this key in a conversation.

    Args:
        trace_id: OTel trace id.
        root_span_id: OTel span id of the root: an ambient trace may have several conversations.
        key: identifies the span within the conversation.
    """
    text = f"{trace_id:032x}{root_span_id:016x}{key}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") or 1


def response_key(response_id: str) -> str:
    """Return the key of a model call's span."""
    return f"response {response_id}"


def transcription_key(item_id: str, content_index: object) -> str:
    """Return the key of a transcription's span."""
    return f"transcription {item_id} {content_index}"


def gap_key(number: int) -> str:
    """Return the key of the span between two connections of a conversation."""
    return f"gap {number}"


def mcp_key(kind: str, item_id: str) -> str:
    """Return the key of an action of the server itself: a ``call``, an ``approval`` or a ``list``."""
    return f"mcp {kind} {item_id}"


class _ChosenIds:
    """An id generator that returns the chosen id, if there is one, else one of another generator.

    Args:
        own: the provider's generator.
    """

    def __init__(self, own: Any) -> None:
        self._own = own

    def generate_span_id(self) -> int:
        chosen = _next.id
        return int(self._own.generate_span_id()) if chosen is None else chosen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


def with_chosen_ids(tracer: Tracer) -> Tracer:
    """Return a copy of a tracer that uses the ids of ``chosen``, and is otherwise the same.

    ``id_generator`` is an attribute of the SDK's tracer. A tracer of another SDK is returned as it is,
    and its spans have random ids.
    """
    own = getattr(tracer, "id_generator", None)
    if own is None:
        return tracer
    try:
        copied = copy(tracer)
        copied.id_generator = _ChosenIds(own)  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - a tracer that cannot be copied, or has slots
        return tracer
    return copied


@contextmanager
def chosen(span_id: int) -> Iterator[None]:
    """Give this id to a span that is started within the block, on this thread."""
    _next.id = span_id
    try:
        yield
    finally:
        _next.id = None
