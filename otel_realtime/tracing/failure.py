"""What went wrong, as spans tell it: the server's errors, the app's exceptions."""

from __future__ import annotations

import traceback
from typing import Final

from opentelemetry.trace import Span, Status, StatusCode

from otel_realtime import attributes as names
from otel_realtime.core.protocol.events import Event, replace_surrogates
from otel_realtime.core.protocol.json_values import object_or_empty, text_or_none
from otel_realtime.core.protocol.outcome import Failure
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy

#: Characters of an error's text: a status is no place for a document.
MESSAGE_LIMIT: Final = 2048


def error_kind(event: Event) -> str:
    """The code of the error an event reports, else its type, else the event's own."""
    error = object_or_empty(event.get("error"))
    return text_or_none(error.get("code")) or text_or_none(error.get("type")) or str(event["type"])


def event_failure(event: Event, policy: ContentPolicy) -> Failure | None:
    """The failure an event reports: ``error``, ``*.failed``, a failed ``response.done``."""
    kind = event["type"]
    if kind == "error" or kind.endswith(".failed"):
        what = error_kind(event)
        return Failure(
            what, told(object_or_empty(event.get("error")).get("message"), policy) or what
        )
    if kind == "response.done":
        response = object_or_empty(event.get("response"))
        if response.get("status") == "failed":
            error = object_or_empty(object_or_empty(response.get("status_details")).get("error"))
            what = text_or_none(error.get("code")) or text_or_none(error.get("type")) or "failed"
            return Failure(what, told(error.get("message"), policy) or what)
    return None


def raised(error: BaseException, policy: ContentPolicy) -> tuple[Failure, str | None]:
    """The app's exception as it may be told, and its stack trace where its words may be.

    It may quote anything, so it passes the same gates as an ``error`` event of the server.
    """
    kind = type(error).__qualname__
    if not policy.payloads:
        return Failure(kind, HIDDEN), None
    try:
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        told = {"type": kind, "message": str(error), "stacktrace": "".join(lines)}
    except Exception:  # noqa: BLE001 - an app's exception that cannot be put into words
        return Failure(kind, kind), None
    stored, _ = policy.apply({"type": "error", "error": told})
    shown_error = object_or_empty(stored.get("error"))
    message = text_or_none(shown_error.get("message")) or kind
    trace = text_or_none(shown_error.get("stacktrace"))
    return Failure(
        kind, replace_surrogates(message)[:MESSAGE_LIMIT]
    ), None if trace is None else replace_surrogates(trace)


def told(value: object, policy: ContentPolicy) -> str:
    """A server's message as it may be stored: it can quote either side."""
    text = text_or_none(value) or ""
    return text if policy.payloads or not text else HIDDEN


def fail(span: Span, failure: Failure, at_ns: int, stacktrace: str | None = None) -> None:
    """Mark a span as failed; LangSmith reads only the ``exception`` event."""
    said = {"exception.type": failure.type, "exception.message": failure.message}
    if stacktrace is not None:
        said["exception.stacktrace"] = stacktrace
    span.set_attribute(names.ERROR_TYPE, failure.type)
    span.set_status(Status(StatusCode.ERROR, failure.message))
    span.add_event("exception", said, timestamp=at_ns)
