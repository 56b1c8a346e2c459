"""Calls that fail leave a trace that says how, and fail for the app exactly as they would without us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from opentelemetry.trace import StatusCode

import otel_realtime
from otel_realtime.process.process import PROCESS
from tests.support.fault_server import (
    HALF_A_TURN,
    HELLO,
    FaultServer,
    Peer,
    Script,
    closing,
    mid_frame,
    refusing,
    vanishing,
)
from tests.support.traces import Traces, facts

Options = dict[str, Any]
#: How long a client waits for a server that does not close.
QUICK: Options = {"close_timeout": 0.1}


async def _talk(url: str, options: Options) -> None:
    client = AsyncOpenAI(api_key="any", websocket_base_url=url)
    manager = client.realtime.connect(
        model="gpt-realtime", websocket_connection_options={**QUICK, **options}
    )
    async with client, manager as connection:
        while True:
            await connection.recv()


def by_async(url: str, **options: Any) -> None:
    """Receive until the call fails."""
    asyncio.run(_talk(url, options))


def by_sync(url: str, **options: Any) -> None:
    """Receive until the call fails."""
    with OpenAI(api_key="any", websocket_base_url=url) as client:
        with client.realtime.connect(
            model="gpt-realtime", websocket_connection_options={**QUICK, **options}
        ) as connection:
            while True:
                connection.recv()


CLIENTS = pytest.mark.parametrize("talk", [by_async, by_sync])
Talk = Callable[..., None]


def failure(talk: Talk, script: Script, **options: Any) -> BaseException:
    """What the app gets of a call with this server."""
    with FaultServer(script) as server, pytest.raises(Exception) as caught:
        talk(server.url, **options)
    return caught.value


def told(error: BaseException) -> tuple[type, str, list[str]]:
    """What an exception tells the app; addresses of objects differ from call to call."""
    return type(error), str(error), [type(argument).__name__ for argument in error.args]


def failed_call(talk: Talk, script: Script, traces: Traces, **options: Any) -> None:
    """Hold a call that fails, once without us and once with us: the app sees the same."""
    expected = told(failure(talk, script, **options))
    otel_realtime.instrument(tracer_provider=traces.provider)
    assert expected == told(failure(talk, script, **options))
    assert not PROCESS.live
    assert StatusCode.ERROR is traces.root.status.status_code


def event_names(traces: Traces) -> list[str]:
    """What stands under the root."""
    return sorted(span.name for span in traces.spans if span.parent is not None)


@CLIENTS
@pytest.mark.parametrize("status", [401, 404, 429, 500])
def test_refused_handshake(talk: Talk, status: int, traces: Traces) -> None:
    """A refused handshake is a root with the HTTP status, and nothing of the answer's body."""
    failed_call(
        talk, lambda peer: peer.refuse(status, "you said sk-proj-0123456789abcdefghij"), traces
    )
    assert str(status) == facts(traces.root)["error.type"]
    assert f"HTTP {status}" in str(traces.root.status.description)
    assert [] == event_names(traces)


@CLIENTS
def test_closed_at_once(talk: Talk, traces: Traces) -> None:
    """A socket that is closed before its first event leaves a root with code and reason."""
    failed_call(talk, closing(4001, "session_expired"), traces)
    root = facts(traces.root)
    assert 4001 == root["otel_realtime.close_code"]
    assert "session_expired" == root["otel_realtime.close_reason"]
    assert "websocket_4001" == root["error.type"]
    assert "session_expired" in str(traces.root.status.description)


@CLIENTS
def test_closed_in_the_middle(talk: Talk, traces: Traces) -> None:
    """A server that gives up in mid-response: code and reason, and the usage of what was done."""
    failed_call(talk, closing(1011, "overloaded", HALF_A_TURN), traces)
    root = facts(traces.root)
    assert (1011, "overloaded") == (
        root["otel_realtime.close_code"],
        root["otel_realtime.close_reason"],
    )
    _usage_so_far(traces)


@CLIENTS
@pytest.mark.parametrize(
    "how", [Peer.reset, Peer.half_close, Peer.end, mid_frame], ids=lambda how: how.__name__
)
def test_vanished_in_the_middle(talk: Talk, how: Callable[[Peer], None], traces: Traces) -> None:
    """A server that vanishes in mid-response leaves what came, and a root that says it was lost."""
    failed_call(talk, vanishing(how), traces)
    assert "connection_lost" == facts(traces.root)["error.type"]
    _usage_so_far(traces)


def test_silence(traces: Traces) -> None:
    """A server that just stops talking is found out by the client's pings, and told like a loss."""
    quick = {"ping_interval": 0.1, "ping_timeout": 0.1}
    failed_call(by_async, vanishing(Peer.silent), traces, **quick)
    assert "connection_lost" == facts(traces.root)["error.type"]
    _usage_so_far(traces)


def _usage_so_far(traces: Traces) -> None:
    done, open_ = traces.named("chat gpt-realtime")
    assert 7 == facts(done)["gen_ai.usage.input_tokens"]
    assert StatusCode.UNSET is done.status.status_code
    assert "conversation_closed" == facts(open_)["error.type"]
    assert StatusCode.ERROR is open_.status.status_code


def test_impatient_app(traces: Traces) -> None:
    """An app that gives up on a silent server: its own error is on the root and reaches it."""

    async def impatient(url: str) -> None:
        async with AsyncOpenAI(api_key="any", websocket_base_url=url) as client:
            async with client.realtime.connect(
                model="gpt-realtime", websocket_connection_options=QUICK
            ) as connection:
                await connection.recv()
                await asyncio.wait_for(connection.recv(), 0.05)

    otel_realtime.instrument(tracer_provider=traces.provider)
    with FaultServer(vanishing(Peer.silent, [HELLO])) as server:
        with pytest.raises(asyncio.TimeoutError):
            asyncio.run(impatient(server.url))
    assert "TimeoutError" == facts(traces.root)["error.type"]
    assert not PROCESS.live


@pytest.mark.parametrize(
    "frame", [b"\xff\xfe\x00", b"{", "[1,2]", "nonsense", '"x"', "1e400", "{}"]
)
def test_garbage(frame: str | bytes, traces: Traces) -> None:
    """Frames that are no events reach the app as they are, are counted, and harm nothing."""

    def script(peer: Peer) -> None:
        peer.accept()
        peer.send(HELLO, frame, {"type": "response.created", "response": {"id": "resp_1"}})
        peer.close(1000)

    async def talk(url: str) -> list[bytes]:
        found = []
        async with AsyncOpenAI(api_key="any", websocket_base_url=url) as client:
            async with client.realtime.connect(model="gpt-realtime") as connection:
                for _ in range(3):
                    found.append(await connection.recv_bytes())
        return found

    otel_realtime.instrument(tracer_provider=traces.provider)
    with FaultServer(script) as server:
        frames = asyncio.run(talk(server.url))
    assert (frame if isinstance(frame, bytes) else frame.encode()) == frames[1]
    assert 3 == facts(traces.root)["otel_realtime.event_count"]
    assert StatusCode.UNSET is traces.root.status.status_code


def test_refused_before_the_provider_exists(process: pytest.MonkeyPatch) -> None:
    """Without any tracer provider a refused call is the app's own error and nothing else."""
    otel_realtime.instrument()
    assert "InvalidStatus" == type(failure(by_async, refusing(401))).__name__
    assert not PROCESS.live
