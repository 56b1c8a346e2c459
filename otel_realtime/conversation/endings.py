"""How a conversation ended: by the app, by its connection's close, or by a refused handshake.

Close codes: https://www.rfc-editor.org/rfc/rfc6455#section-7.4
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from otel_realtime.core.protocol.events import replace_surrogates
from otel_realtime.core.protocol.outcome import Ending, Failure
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.tap.interface import Close, Handshake
from otel_realtime.tracing.failure import exception_failure

#: Close codes of a normal end: https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
_NORMAL_CODES: Final = frozenset({1000, 1001})
#: Libraries report it for a close frame without a code; it is never sent:
#: https://www.rfc-editor.org/rfc/rfc6455#section-7.1.5
_NO_CODE: Final = 1005


def ended_by_app(error: BaseException | None, policy: ContentPolicy) -> Ending:
    """Return the ending of a conversation that the app ended.

    Args:
        error: the app's exception; cancellation is not an error.
        policy: which content may be stored.
    """
    return Ending(failure=_app_failure(error, policy))


def ended_by_close(close: Close, policy: ContentPolicy) -> Ending:
    """Return the ending of a conversation whose connection ended.

    The conversation failed if the server sent a code other than 1000 and 1001, or if there was no
    close frame and the app had not closed the connection.

    Args:
        close: how the connection ended.
        policy: which content may be stored.
    """
    code = None if close.received_code == _NO_CODE else close.received_code
    reason = _reason(close.received_reason, policy)
    failure = _app_failure(close.error, policy) or _close_failure(code, reason, close)
    return Ending(code=code, reason=reason, by_client=close.by_client, failure=failure)


def ended_since(close: Ending, ending: Ending) -> Ending:
    """Return the ending of a conversation that the app ended after its latest socket had closed.

    Args:
        close: how that socket closed.
        ending: the ending by the app; its exception counts unless the close was already a failure.
    """
    return replace(close, failure=close.failure or ending.failure)


def ended_by_refusal(handshake: Handshake) -> Ending:
    """Return the ending of a conversation whose handshake the server refused.

    It contains the HTTP status but never a header, because request headers hold the API key.
    """
    if handshake.status is not None:
        text = f"the server refused the websocket handshake: HTTP {handshake.status}"
        return Ending(failure=Failure(str(handshake.status), text))
    kind = type(handshake.error).__name__ if handshake.error else "unknown"
    return Ending(failure=Failure(kind, f"the websocket handshake failed: {kind}"))


def _app_failure(error: BaseException | None, policy: ContentPolicy) -> Failure | None:
    if error is None or not isinstance(error, Exception):
        return None  # CancelledError, KeyboardInterrupt and GeneratorExit are not failures
    return exception_failure(error, policy)[0]


def _reason(text: str, policy: ContentPolicy) -> str:
    """Return a close frame's reason in the form in which it may be stored.

    The policy applies to it as to an event, because a server may quote content in it. If content is
    hidden, only a reason of a single word remains.
    """
    stored, _ = policy.apply({"type": "close", "reason": replace_surrogates(text)})
    reason = (stored if policy.payloads else policy.hidden(stored)).get("reason")
    return reason if isinstance(reason, str) else ""


def _close_failure(code: int | None, reason: str, close: Close) -> Failure | None:
    if code in _NORMAL_CODES or (code is None and close.by_client):
        return None
    if code is None:
        return Failure("connection_lost", "the connection was lost without a close frame")
    subject = "connection was" if close.by_client else "server"
    detail = f": {reason}" if reason else ""
    return Failure(f"websocket_{code}", f"the {subject} closed with code {code}{detail}")
