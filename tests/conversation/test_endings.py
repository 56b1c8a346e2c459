"""How a conversation ended, told from the close, the exception or the refusal."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from otel_realtime.conversation.endings import ended_by_app, ended_by_close, ended_by_refusal
from otel_realtime.core.protocol.outcome import Ending, Failure
from otel_realtime.core.protocol.redaction import HIDDEN
from otel_realtime.tap import Close, Handshake
from otel_realtime.tracing.failure import exception_failure
from tests.support.span_tables import ALL, NO_INPUTS, NO_OUTPUTS, NOTHING


def closed(code: int | None, *, by_client: bool = False, **keys: Any) -> Ending:
    """How it ended when the connection closed like this."""
    given = {"received_reason": "", "sent_code": None, **keys}
    return ended_by_close(Close(received_code=code, by_client=by_client, **given), ALL)


@pytest.mark.parametrize(
    ("code", "by_client", "failure"),
    [
        (1000, False, None),
        (1001, False, None),
        (1000, True, None),
        (None, True, None),
        (1005, True, None),
        (None, False, "connection_lost"),
        (1005, False, "connection_lost"),
        (1008, False, "websocket_1008"),
        (1011, True, "websocket_1011"),
        (4001, False, "websocket_4001"),
    ],
)
def test_which_closes_are_abnormal(code: int | None, by_client: bool, failure: str | None) -> None:
    """Another code than 1000 and 1001, or none and the client did not close."""
    ending = closed(code, by_client=by_client)
    assert (failure, by_client) == (ending.failure and ending.failure.type, ending.by_client)
    assert (None if code == 1005 else code) == ending.code


def test_an_abnormal_close_says_code_and_reason() -> None:
    """On the root, and in its error."""
    ending = closed(4001, received_reason="Your session expired.")
    assert (4001, "Your session expired.") == (ending.code, ending.reason)
    assert Failure("websocket_4001", "the server closed with code 4001: Your session expired.") == (
        ending.failure
    )


@pytest.mark.parametrize(
    "text",
    [
        "refused: Authorization: Bearer hunter2",
        "invalid x-api-key=hunter2",
        "cannot reach wss://me:hunter2@host/realtime?model=m&token=hunter2",
    ],
)
def test_neither_a_reason_nor_an_exception_quotes_a_credential(text: str) -> None:
    """With content shown; the stack trace goes the same way."""
    ending = closed(4001, received_reason=text)
    assert "hunter2" not in str(ending)
    assert "hunter2" not in str(ended_by_app(RuntimeError(text), ALL))
    failure, stack = exception_failure(RuntimeError(text), ALL)
    assert "hunter2" not in f"{failure} {stack}"
    assert "[secret]" in failure.message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, None),
        (ValueError("bad"), Failure("ValueError", "bad")),
        (ValueError(), Failure("ValueError", "ValueError")),
        (asyncio.CancelledError(), None),
        (KeyboardInterrupt(), None),
        (GeneratorExit(), None),
    ],
)
def test_the_apps_exception_is_a_failure(
    error: BaseException | None, expected: Failure | None
) -> None:
    """Cancellation and interrupts are none."""
    assert expected == ended_by_app(error, ALL).failure
    assert expected == closed(1000, error=error).failure


def test_an_exceptions_message_is_hidden_with_the_content() -> None:
    """It can quote anything."""
    for policy in (NO_INPUTS, NO_OUTPUTS, NOTHING):
        ending = ended_by_app(ValueError("PLANTED"), policy)
        assert Failure("ValueError", HIDDEN) == ending.failure


class _Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_that_cannot_be_put_into_words_is_named() -> None:
    """Its own fault does not reach the app."""
    assert Failure("_Speechless", "_Speechless") == ended_by_app(_Speechless(), ALL).failure


def test_a_long_message_is_cut() -> None:
    """Some exceptions quote whole bodies."""
    failure = ended_by_app(ValueError("x" * 10**6), ALL).failure
    assert failure is not None
    assert len(failure.message) < 10_000


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [(401, None, "401"), (None, TimeoutError(), "TimeoutError"), (None, None, "unknown")],
)
def test_a_refused_handshake(status: int | None, error: BaseException | None, kind: str) -> None:
    """With the HTTP status, else with what was raised; never with a header."""
    handshake = Handshake(
        path="/v1/realtime",
        query={},
        host="api.openai.com",
        port=443,
        started_ns=0,
        mono_ns=0,
        status=status,
        error=error,
    )
    failure = ended_by_refusal(handshake).failure
    assert failure is not None
    assert kind == failure.type
