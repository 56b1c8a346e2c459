"""Failures on spans: errors the server reports, and exceptions of the app.

A failed span gets ``error.type``, an ``ERROR`` status and an ``exception`` event, as in
https://opentelemetry.io/docs/specs/semconv/general/recording-errors/ and
https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-spans/
"""

from __future__ import annotations

import traceback
from typing import Final

from opentelemetry.trace import Span, Status, StatusCode

from otel_realtime import attributes as names
from otel_realtime.core.protocol.events import Event, replace_surrogates
from otel_realtime.core.protocol.json_values import object_or_empty, text_or_none
from otel_realtime.core.protocol.outcome import Failure
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.interrupts import let_through

#: Maximum length of an exception's message, which becomes the span's status description.
MESSAGE_LIMIT: Final = 2048


def error_kind(event: Event) -> str:
    """Return ``error.code`` of an event, else ``error.type``, else the event's own type."""
    error = object_or_empty(event.get("error"))
    return text_or_none(error.get("code")) or text_or_none(error.get("type")) or str(event["type"])


def event_failure(event: Event, policy: ContentPolicy) -> Failure | None:
    """Return the failure an event reports; ``None`` if it reports none.

    These are ``error``, every type named ``*.failed``, and ``response.done`` with status ``failed``:
    https://platform.openai.com/docs/api-reference/realtime-server-events/error
    """
    kind = event["type"]
    if kind == "error" or kind.endswith(".failed"):
        code = error_kind(event)
        message = object_or_empty(event.get("error")).get("message")
        return Failure(code, stored_message(message, policy) or code)
    if kind == "response.done":
        response = object_or_empty(event.get("response"))
        if response.get("status") == "failed":
            error = object_or_empty(object_or_empty(response.get("status_details")).get("error"))
            code = text_or_none(error.get("code")) or text_or_none(error.get("type")) or "failed"
            return Failure(code, stored_message(error.get("message"), policy) or code)
    return None


def exception_failure(error: BaseException, policy: ContentPolicy) -> tuple[Failure, str | None]:
    """Return an exception of the app as a failure, and its stack trace if it may be stored.

    The message may contain any content, so the policy applies to it as to an ``error`` event.
    """
    kind = type(error).__qualname__
    if not policy.payloads:
        return Failure(kind, HIDDEN), None
    try:
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        report = {"type": kind, "message": str(error), "stacktrace": "".join(lines)}
    except BaseException as error:  # noqa: BLE001 - the app's ``__str__`` raised
        let_through(error)
        return Failure(kind, kind), None
    stored, _ = policy.apply({"type": "error", "error": report})
    admitted = object_or_empty(stored.get("error"))
    message = text_or_none(admitted.get("message")) or kind
    trace = text_or_none(admitted.get("stacktrace"))
    return Failure(
        kind, replace_surrogates(message)[:MESSAGE_LIMIT]
    ), None if trace is None else replace_surrogates(trace)


def stored_message(value: object, policy: ContentPolicy) -> str:
    """Return a server's error message as it may be stored: it can quote either side."""
    text = text_or_none(value) or ""
    return text if policy.payloads or not text else HIDDEN


def fail(span: Span, failure: Failure, at_ns: int, stacktrace: str | None = None) -> None:
    """Mark a span as failed.

    Args:
        span: the span.
        failure: its type and message.
        at_ns: when it failed, epoch ns.
        stacktrace: the exception's stack trace.
    """
    event = {"exception.type": failure.type, "exception.message": failure.message}
    if stacktrace is not None:
        event["exception.stacktrace"] = stacktrace
    span.set_attribute(names.ERROR_TYPE, failure.type)
    span.set_status(Status(StatusCode.ERROR, failure.message))
    # LangSmith derives a run's error from this event alone, not from the status:
    # https://github.com/langchain-ai/langsmith-collector-proxy (otel_converter.go)
    span.add_event("exception", event, timestamp=at_ns)
