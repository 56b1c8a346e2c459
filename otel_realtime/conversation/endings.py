"""How a conversation ended: from its socket's close, the app's exception, or a refused handshake."""

from __future__ import annotations

from typing import Final

from otel_realtime.core.protocol.events import clean
from otel_realtime.core.protocol.outcome import Ending, Failure
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.tap.interface import Close, Handshake
from otel_realtime.tracing.failure import exception_failure

#: Close codes of a normal end (RFC 6455, 7.4.1).
_NORMAL_CODES: Final = frozenset({1000, 1001})
#: What libraries report for a close frame without a code (RFC 6455, 7.1.5).
_NO_CODE: Final = 1005


def ended_by_app(error: BaseException | None, policy: ContentPolicy) -> Ending:
    """The app ended it, perhaps because of an exception; cancellation is not an error."""
    return Ending(failure=_app_failure(error, policy))


def ended_by_close(close: Close, policy: ContentPolicy) -> Ending:
    """The connection ended: abnormal with a code other than 1000/1001, or without any.

    No code at all is normal only if the app closed.
    """
    code = None if close.received_code == _NO_CODE else close.received_code
    reason = _reason(close.received_reason, policy)
    failure = _app_failure(close.error, policy) or _close_failure(code, reason, close)
    return Ending(code=code, reason=reason, by_client=close.by_client, failure=failure)


def ended_by_refusal(handshake: Handshake) -> Ending:
    """The server refused the handshake; the HTTP status tells why, never a header."""
    if handshake.status is not None:
        text = f"the server refused the websocket handshake: HTTP {handshake.status}"
        return Ending(failure=Failure(str(handshake.status), text))
    kind = type(handshake.error).__name__ if handshake.error else "unknown"
    return Ending(failure=Failure(kind, f"the websocket handshake failed: {kind}"))


def _app_failure(error: BaseException | None, policy: ContentPolicy) -> Failure | None:
    if error is None or not isinstance(error, Exception):
        return None  # cancellation, an interrupt, a closed generator: not errors
    return exception_failure(error, policy)[0]


def _reason(text: str, policy: ContentPolicy) -> str:
    """A close frame's reason: with content hidden only if it is one word, not a sentence."""
    stored, _ = policy.admit({"type": "close", "reason": clean(text)})
    reason = (stored if policy.payloads else policy.hidden(stored)).get("reason")
    return reason if isinstance(reason, str) else ""


def _close_failure(code: int | None, reason: str, close: Close) -> Failure | None:
    if code in _NORMAL_CODES or (code is None and close.by_client):
        return None
    if code is None:
        return Failure("connection_lost", "the connection was lost without a close frame")
    who = "connection was" if close.by_client else "server"
    why = f": {reason}" if reason else ""
    return Failure(f"websocket_{code}", f"the {who} closed with code {code}{why}")
