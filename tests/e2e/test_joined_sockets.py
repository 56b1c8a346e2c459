"""One conversation on several sockets: an app's loop around ``connect`` inside one ``using(...)``."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_sync

import otel_realtime
from otel_realtime import Settings, current_conversation, instrument, using
from otel_realtime.demo.scenario import Answer, Call, Scenario
from otel_realtime.demo.server import ScriptedServer
from tests.support.own_process import settle
from tests.support.realtime_server import Peer, ReplayServer
from tests.support.talking import PER_MS, client_of, pcm, sync_client_of, text_item, tone
from tests.support.traces import Traces, facts, samples, stretches, turns
from tests.support.waiting import wait_for

ANSWER = Answer(text="A second of sound.", pcm=tone(1_000, 523))
TEXT = Scenario(answers=(Answer(text="Fine."),), rate_limits=False)
VOICE = Scenario(answers=(ANSWER,), rate_limits=False)
SPEED = 20
CREATED = {"type": "session.created", "session": {"id": "sess", "model": "gpt-realtime"}}
PATH = "/realtime?model=gpt-realtime"


@pytest.fixture(autouse=True)
def kept(traces: Traces, tmp_path: Path) -> Path:
    """An instrumented app that keeps its recordings in this folder."""
    folder = tmp_path / "kept"
    instrument(tracer_provider=traces.provider, settings=Settings(recordings_dir=str(folder)))
    return folder


async def ask(rt: Any, text: str | None = None) -> None:
    """Ask, and receive the answer."""
    if text is not None:
        await rt.conversation.item.create(item=text_item(text))
    await rt.response.create()
    async for event in rt:
        if event.type == "response.done":
            return


def started(span: ReadableSpan) -> int:
    """When a span began, epoch ns."""
    return span.start_time or 0


def close_ns(traces: Traces) -> int:
    """When the latest event span of a closed conversation ended, epoch ns."""
    return max(span.end_time or 0 for span in traces.spans if span is not traces.root)


# -- one conversation ------------------------------------------------------------------------------


def test_a_loop_around_connect_is_one_conversation(traces: Traces) -> None:
    """One root, a session and a gap for each socket; it is there between the sockets, and ends at the
    last close, not with the block.
    """
    between: list[str | None] = []

    async def app(url: str) -> None:
        async with client_of(url) as client:
            with using(thread_id="caller"):
                for text in ("One?", "Two?", "Three?"):
                    async with client.realtime.connect(model="gpt-realtime") as rt:
                        await ask(rt, text)
                    call = current_conversation()
                    between.append(None if call is None else call.thread_id)
                    assert not traces.roots
                closed.append(time.time_ns())
                await asyncio.sleep(0.5)
            assert len(traces.roots) == 1
            assert current_conversation() is None

    closed: list[int] = []
    with ScriptedServer(TEXT, speed=SPEED) as server:
        asyncio.run(app(server.url))
    assert ["caller"] * 3 == between
    assert 3 == len(traces.named("session.created")) == len(traces.named("chat gpt-realtime"))
    assert 2 == len(traces.named("reconnect")) == facts(traces.root)["otel_realtime.reconnects"]
    assert ["One?", "Fine.", "Two?", "Fine.", "Three?", "Fine."] == [
        turn["text"] for turn in turns(traces.root)
    ]
    assert closed[0] >= (traces.root.end_time or 0) > closed[0] - 300_000_000
    assert 1 == len({span.context.trace_id for span in traces.spans if span.context})
    sessions = [facts(span).get("gen_ai.realtime_session.id") for span in traces.spans]
    assert 3 == len(set(sessions) - {None})


def test_a_loop_of_a_thread(traces: Traces) -> None:
    """The synchronous client."""

    def app(url: str) -> None:
        client = sync_client_of(url)
        with using(thread_id="caller"):
            for _ in range(2):
                with client.realtime.connect(model="gpt-realtime") as rt:
                    rt.response.create()
                    for event in rt:
                        if event.type == "response.done":
                            break
                assert current_conversation() is not None

    with ScriptedServer(TEXT, speed=SPEED) as server:
        thread = threading.Thread(target=app, args=(server.url,))
        thread.start()
        thread.join()
    assert 1 == facts(traces.root)["otel_realtime.reconnects"]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_bare_websockets(traces: Traces, *, asynchronous: bool) -> None:
    """The first one is lost; the gap says how, and the conversation did not fail."""

    def lose(peer: Peer) -> None:
        peer.send(CREATED)
        peer.recv()
        peer.close(1011, "restarting")

    def stay(peer: Peer) -> None:
        peer.send(CREATED)
        peer.listen()

    async def app(url: str) -> None:
        with using(thread_id="caller"):
            async with websockets.connect(url + PATH) as socket:
                await socket.recv()
                await socket.send('{"type": "response.create"}')
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
            async with websockets.connect(url + PATH) as socket:
                await socket.recv()

    def app_sync(url: str) -> None:
        with using(thread_id="caller"):
            with connect_sync(url + PATH) as socket:
                socket.recv()
                socket.send('{"type": "response.create"}')
                with pytest.raises(ConnectionClosed):
                    socket.recv()
            with connect_sync(url + PATH) as socket:
                socket.recv()

    with ReplayServer([lose, stay]) as server:
        asyncio.run(app(server.url)) if asynchronous else app_sync(server.url)
    gap = traces.one("reconnect")
    assert (1011, "restarting", "websocket_1011", StatusCode.ERROR) == (
        facts(gap)["otel_realtime.close_code"],
        facts(gap)["otel_realtime.close_reason"],
        facts(gap)["error.type"],
        gap.status.status_code,
    )
    first, second = sorted(traces.named("session.created"), key=started)
    assert (first.end_time or 0) <= started(gap) <= (gap.end_time or 0) <= started(second)
    assert StatusCode.ERROR != traces.root.status.status_code
    assert 1 == facts(traces.root)["otel_realtime.reconnects_after_websocket_1011"]
    assert "otel_realtime.close_reason" not in facts(traces.root)


def test_a_connection_of_the_sdk_that_reconnects_shows_its_gap(traces: Traces) -> None:
    """It needs no block."""

    async def app(url: str) -> None:
        async with client_of(url) as client:
            options: Any = {"on_reconnecting": lambda event: None, "initial_delay": 0.01}
            async with client.realtime.connect(model="gpt-realtime", **options) as rt:
                await rt.response.create()
                async for _ in rt:
                    pass

    def lose(peer: Peer) -> None:
        peer.send(CREATED, {"type": "response.created", "response": {"id": "resp_1"}})
        peer.recv()
        peer.close(1012, "restart")

    def end(peer: Peer) -> None:
        peer.send(CREATED)
        peer.close()

    with ReplayServer([lose, end]) as server:
        asyncio.run(app(server.url))
    assert 1 == facts(traces.root)["otel_realtime.reconnects"]
    gap = traces.one("reconnect")
    assert 1012 == facts(gap)["otel_realtime.close_code"]
    (chat,) = traces.named("chat gpt-realtime")
    assert "the connection closed before response.done" == chat.status.description
    assert (chat.end_time or 0) == started(gap)


# -- the recording ---------------------------------------------------------------------------------


def test_the_recording_goes_on_across_the_gap(traces: Traces, kept: Path) -> None:
    """What was received on the first socket plays on to the sample; what the user says on the second
    one lies where it was said.
    """
    spoken: list[float] = []
    question = tone(200, 330)

    async def app(url: str) -> None:
        async with client_of(url) as client:
            with using(thread_id="caller"):
                async with client.realtime.connect(model="gpt-realtime") as rt:
                    await ask(rt)
                await asyncio.sleep(0.3)  # the answer plays for a second
                async with client.realtime.connect(model="gpt-realtime") as rt:
                    async for event in rt:
                        if event.type == "session.created":
                            break
                    await asyncio.sleep(0.4)
                    for at in range(0, len(question), 960):
                        await asyncio.sleep(0.02)
                        piece = base64.b64encode(question[at : at + 960]).decode()
                        await rt.input_audio_buffer.append(audio=piece)
                        spoken.append(time.time())
                    await asyncio.sleep(1.0)

    with ScriptedServer(VOICE, speed=SPEED) as server:
        asyncio.run(app(server.url))
    assert otel_realtime.flush(10)
    (path,) = kept.glob("*.wav")
    left, right = samples(path)
    assert np.array_equal(pcm(ANSWER.pcm or b""), right[right != 0])
    assert 1 == len(stretches(right))
    assert np.array_equal(pcm(question), left[left != 0])
    start_s = (traces.root.start_time or 0) / 1e9
    at_ms = stretches(left)[0][0] / PER_MS
    assert (spoken[0] - start_s) * 1000 - 20 == pytest.approx(at_ms, abs=60)
    length_s = ((traces.root.end_time or 0) - (traces.root.start_time or 0)) / 1e9
    assert length_s == pytest.approx(right.size / 24_000, abs=0.05)
    chat = traces.one("chat gpt-realtime")
    assert (1_000, 1_000, False) == (
        facts(chat)["otel_realtime.generated_ms"],
        facts(chat)["otel_realtime.heard_ms"],
        facts(chat)["otel_realtime.interrupted"],
    )


def test_a_call_that_nobody_goes_on_with_was_heard_until_its_close(
    traces: Traces, kept: Path
) -> None:
    """However much later that is known, and whatever the app's microphone gave meanwhile."""

    async def app(url: str) -> None:
        async with client_of(url) as client:
            with using(thread_id="caller"):
                async with client.realtime.connect(model="gpt-realtime") as rt:
                    await ask(rt)
                call = current_conversation()
                assert call is not None
                for _ in range(20):
                    await asyncio.sleep(0.02)
                    call.record_user_audio(tone(20, 330), rate=24_000)
                # The end never waits for the recording's writer, which a busy machine delays.
                await asyncio.to_thread(settle)

    with ScriptedServer(VOICE, speed=SPEED) as server:
        asyncio.run(app(server.url))
    assert otel_realtime.flush(10)
    (path,) = kept.glob("*.wav")
    left, right = samples(path)
    length_s = ((traces.root.end_time or 0) - (traces.root.start_time or 0)) / 1e9
    assert length_s == pytest.approx(right.size / 24_000, abs=0.05)
    assert length_s < 0.6
    assert not left.any()
    heard = facts(traces.one("chat gpt-realtime"))["otel_realtime.heard_ms"]
    assert heard == pytest.approx(np.count_nonzero(right) / PER_MS, abs=1)
    assert heard < 600


def test_what_is_sent_to_a_dead_socket_is_not_recorded(traces: Traces, kept: Path) -> None:
    """A microphone task may go on for a while; nobody got it."""

    async def app(url: str) -> None:
        append = {"type": "input_audio_buffer.append"}
        with using(thread_id="caller"):
            async with websockets.connect(url + PATH) as dead:
                await dead.recv()
            for _ in range(10):
                audio = base64.b64encode(tone(20, 330)).decode()
                with pytest.raises(ConnectionClosed):
                    await dead.send(json.dumps({**append, "audio": audio}))
            async with websockets.connect(url + PATH) as socket:
                await socket.recv()
                await asyncio.sleep(0.2)

    with ReplayServer([CREATED]) as server:
        asyncio.run(app(server.url))
    assert otel_realtime.flush(10)
    assert 1 == facts(traces.root)["otel_realtime.reconnects"]
    assert not [path for path in kept.glob("*.wav") if samples(path)[0].any()]


# -- what was going on when the socket closed ------------------------------------------------------


def test_what_was_going_on_is_over_with_the_socket(traces: Traces) -> None:
    """A response that was never done, and a tool whose result was never sent."""
    call = {
        "id": "item_c",
        "type": "function_call",
        "name": "look_up",
        "call_id": "call_1",
        "arguments": "{}",
    }

    def lose(peer: Peer) -> None:
        peer.send(
            CREATED,
            {"type": "response.created", "response": {"id": "resp_1"}},
            {"type": "response.output_item.added", "response_id": "resp_1", "item": call},
            {
                "type": "response.function_call_arguments.done",
                "response_id": "resp_1",
                "item_id": "item_c",
                "call_id": "call_1",
                "name": "look_up",
                "arguments": "{}",
            },
        )
        peer.recv()
        peer.drop()

    def stay(peer: Peer) -> None:
        peer.send(CREATED)
        peer.listen()

    async def app(url: str) -> None:
        with using(thread_id="caller"):
            async with websockets.connect(url + PATH) as socket:
                for _ in range(4):
                    await socket.recv()
                await socket.send('{"type": "ping"}')
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
            await asyncio.sleep(0.2)
            async with websockets.connect(url + PATH) as socket:
                await socket.recv()
                await asyncio.sleep(0.2)

    with ReplayServer([lose, stay]) as server:
        asyncio.run(app(server.url))
    gap = traces.one("reconnect")
    chat, tool = traces.one("chat gpt-realtime"), traces.one("execute_tool look_up")
    assert [started(gap)] * 2 == [chat.end_time, tool.end_time]
    assert ["conversation_closed", "tool_not_answered"] == [
        facts(span)["error.type"] for span in (chat, tool)
    ]
    assert "connection_lost" == facts(gap)["error.type"]
    assert StatusCode.ERROR != traces.root.status.status_code


def test_a_tool_that_runs_on_answers_on_the_next_socket(traces: Traces) -> None:
    """The app sends its result there, with the history; the tool has succeeded, once."""

    async def app(url: str) -> None:
        async with client_of(url) as client:
            with using(thread_id="caller"):
                async with client.realtime.connect(model="gpt-realtime") as rt:
                    await rt.response.create()
                    async for event in rt:
                        if event.type == "response.done":
                            (item,) = event.response.output or []
                            break
                call = current_conversation()
                assert call is not None
                with call.tool(item.call_id):
                    await asyncio.sleep(0.2)
                async with client.realtime.connect(model="gpt-realtime") as rt:
                    history: Any = item.to_dict()
                    await rt.conversation.item.create(item=history)
                    output: Any = {
                        "type": "function_call_output",
                        "call_id": item.call_id,
                        "output": "blue",
                    }
                    await rt.conversation.item.create(item=output)
                    await ask(rt)

    asks = Answer(calls=(Call(name="look_up", arguments="{}"),))
    scenarios = [Scenario(answers=(asks,), rate_limits=False), TEXT]
    with ScriptedServer(scenarios, speed=SPEED) as server:
        asyncio.run(app(server.url))
    tool = traces.one("execute_tool look_up")
    assert StatusCode.ERROR != tool.status.status_code
    assert "blue" in facts(tool)["gen_ai.tool.call.result"]
    assert 1 == facts(traces.root)["otel_realtime.tool_calls"]


# -- history that is replayed ----------------------------------------------------------------------


@pytest.mark.parametrize("with_ids", [True, False])
def test_replayed_history_is_known(traces: Traces, *, with_ids: bool) -> None:
    """By its ids, or as what was said from the beginning on; the next response has only read more."""

    async def app(url: str) -> None:
        async with client_of(url) as client:
            with using(thread_id="caller"):
                async with client.realtime.connect(model="gpt-realtime") as rt:
                    await rt.conversation.item.create(item=text_item("How are you?"))
                    await rt.response.create()
                    items: list[Any] = []
                    async for event in rt:
                        if event.type == "conversation.item.done":
                            items.append(event.item.to_dict())
                        elif event.type == "response.done":
                            break
                async with client.realtime.connect(model="gpt-realtime") as rt:
                    for item in items:
                        again = {key: item[key] for key in ("id", "type", "role", "content")}
                        if not with_ids:
                            del again["id"]
                        await rt.conversation.item.create(item=again)
                    await ask(rt, "And now?")

    with ScriptedServer(TEXT, speed=SPEED) as server:
        asyncio.run(app(server.url))
    texts = [(turn["turn"], turn["text"]) for turn in turns(traces.root)]
    assert [(1, "How are you?"), (2, "Fine."), (3, "And now?"), (4, "Fine.")] == texts
    _, second = sorted(traces.named("chat gpt-realtime"), key=started)
    prompt = json.loads(facts(second)["gen_ai.prompt"])
    assert ["And now?"] == [message["content"] for message in prompt["messages"]]
    assert 2 == facts(second)["otel_realtime.context_items"]


def test_what_is_said_again_is_no_replay(traces: Traces) -> None:
    """A loop that asks the same on each socket."""

    async def app(url: str) -> None:
        async with client_of(url) as client:
            with using(thread_id="caller"):
                for _ in range(2):
                    async with client.realtime.connect(model="gpt-realtime") as rt:
                        await ask(rt, "Well?")

    with ScriptedServer(TEXT, speed=SPEED) as server:
        asyncio.run(app(server.url))
    assert ["Well?", "Fine."] * 2 == [turn["text"] for turn in turns(traces.root)]


# -- several conversations -------------------------------------------------------------------------


def test_side_by_side_they_are_two_conversations_of_one_thread(traces: Traces) -> None:
    """Each may be replaced by itself."""

    async def app(url: str) -> None:
        async with client_of(url) as client:
            with using(thread_id="caller"):
                async with client.realtime.connect(model="gpt-realtime") as one:
                    async with client.realtime.connect(model="gpt-realtime") as other:
                        await ask(one, "One?")
                        await ask(other, "Other?")
                    async with client.realtime.connect(model="gpt-realtime") as other:
                        await ask(other, "Other again?")
                        await ask(one, "One again?")

    with ScriptedServer(TEXT, speed=SPEED) as server:
        asyncio.run(app(server.url))
    said = sorted([turn["text"] for turn in turns(root)][::2] for root in traces.roots)
    assert [["One?", "One again?"], ["Other?", "Other again?"]] == said
    assert {"caller"} == {facts(root)["otel_realtime.thread_id"] for root in traces.roots}


async def _two(url: str, first: Any, second: Any) -> None:
    async with client_of(url) as client:
        with using(thread_id="caller"):
            for options in (first, second):
                async with client.realtime.connect(**options) as rt:
                    async for event in rt:
                        if event.type == "session.created":
                            break


MODEL = {"model": "gpt-realtime"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (MODEL, {"model": "gpt-realtime-mini"}),
        ({**MODEL, "extra_query": {"call_id": "a"}}, {**MODEL, "extra_query": {"call_id": "b"}}),
        (MODEL, {**MODEL, "extra_query": {"intent": "transcription"}}),
    ],
    ids=["another model", "another call", "a transcription"],
)
def test_what_asks_for_something_else_does_not_join(
    traces: Traces, first: Any, second: Any
) -> None:
    """It is a conversation of its own in the same thread."""
    with ReplayServer([CREATED]) as server:
        asyncio.run(_two(server.url, first, second))
    assert [None, None] == [facts(root).get("otel_realtime.reconnects") for root in traces.roots]


def test_another_path_does_not_join(traces: Traces) -> None:
    """Nor another block."""

    async def app(url: str) -> None:
        for paths in (["/realtime", "/other/realtime"], ["/realtime"]):
            with using(thread_id="caller"):
                for path in paths:
                    async with websockets.connect(f"{url}{path}?model=gpt-realtime") as socket:
                        await socket.recv()

    with ReplayServer([CREATED]) as server:
        asyncio.run(app(server.url))
    assert 3 == len(traces.roots)


@pytest.mark.parametrize("how", ["join=False", "an outer join=False", "no thread", "a setting"])
def test_what_ends_with_its_socket(traces: Traces, how: str) -> None:
    """Where nobody may go on with it, a conversation ends at once."""
    if how == "a setting":
        instrument(tracer_provider=traces.provider, settings=Settings(join_sockets_s=0))
    options: dict[str, Any] = {} if how == "no thread" else {"thread_id": "caller"}
    if how == "join=False":
        options["join"] = False

    async def app(url: str) -> None:
        with using(join=False if how.startswith("an outer") else None), using(**options):
            for count in (1, 2):
                async with websockets.connect(url + PATH) as socket:
                    await socket.recv()
                assert count == len(traces.roots)

    with ReplayServer([CREATED]) as server:
        asyncio.run(app(server.url))
    assert 2 == len(traces.roots)


def test_a_window_that_has_passed(traces: Traces) -> None:
    """The conversation ends in the background, at its close, and the next socket has its own."""
    instrument(tracer_provider=traces.provider, settings=Settings(join_sockets_s=0.2))

    async def app(url: str) -> None:
        with using(thread_id="caller"):
            async with websockets.connect(url + PATH) as socket:
                await socket.recv()
            closed = time.time_ns()
            await asyncio.to_thread(wait_for, lambda: traces.roots, "the end", timeout_s=10)
            assert closed >= (traces.root.end_time or 0)
            async with websockets.connect(url + PATH) as socket:
                await socket.recv()

    with ReplayServer([CREATED]) as server:
        asyncio.run(app(server.url))
    assert 2 == len(traces.roots)


@pytest.mark.parametrize("how", [otel_realtime.flush, otel_realtime.shutdown])
def test_flush_and_shutdown_wait_for_nobody(traces: Traces, how: Callable[[float], bool]) -> None:
    """What a conversation has is delivered; the next socket has its own."""

    async def app(url: str) -> None:
        with using(thread_id="caller"):
            for count in (1, 2):
                async with websockets.connect(url + PATH) as socket:
                    await socket.recv()
                assert await asyncio.to_thread(how, 10)
                assert count == len(traces.roots)

    with ReplayServer([CREATED]) as server:
        asyncio.run(app(server.url))


# -- blocks and errors -----------------------------------------------------------------------------


def test_an_exception_of_the_block(traces: Traces) -> None:
    """It leaves the connection's block and the outer one: the root has failed by it."""

    async def app(url: str) -> None:
        async with client_of(url) as client:
            with using(thread_id="caller"):
                async with client.realtime.connect(model="gpt-realtime") as rt:
                    await ask(rt)
                async with client.realtime.connect(model="gpt-realtime") as rt:
                    await ask(rt)
                    raise LookupError("no such caller")

    with ScriptedServer(TEXT, speed=SPEED) as server, pytest.raises(LookupError):
        asyncio.run(app(server.url))
    assert "LookupError" == facts(traces.root)["error.type"]
    assert 1 == facts(traces.root)["otel_realtime.reconnects"]


def test_blocks_within(traces: Traces) -> None:
    """One without a thread, or with the same one, belongs to the outer conversation, and adds what it
    says, of which the latest stands; one with another thread is another conversation.
    """

    async def app(url: str) -> None:
        async def connect() -> None:
            async with websockets.connect(url + PATH) as socket:
                await socket.recv()

        with using(thread_id="caller", metadata={"attempt": 0}):
            await connect()
            with using(thread_id="caller"):
                await connect()
            with using(metadata={"attempt": 1}, tags=["again"]):
                await connect()
            with using(thread_id="another"):
                await connect()

    with ReplayServer([CREATED]) as server:
        asyncio.run(app(server.url))
    found = {facts(root)["otel_realtime.thread_id"]: facts(root) for root in traces.roots}
    assert {"caller", "another"} == set(found)
    assert 2 == found["caller"]["otel_realtime.reconnects"]
    assert "again" == found["caller"]["langsmith.span.tags"]
    assert 1 == found["caller"]["otel_realtime.metadata.attempt"]


def test_a_stricter_block_hides_what_comes(traces: Traces) -> None:
    """What a later socket's options hide is hidden from then on."""

    async def app(url: str) -> None:
        async with client_of(url) as client:
            with using(thread_id="caller"):
                for hides in (None, False):
                    with using(capture_content=hides):
                        async with client.realtime.connect(model="gpt-realtime") as rt:
                            await ask(rt, "Wombat?" if hides is False else "Hello?")

    with ScriptedServer(TEXT, speed=SPEED) as server:
        asyncio.run(app(server.url))
    assert 1 == facts(traces.root)["otel_realtime.reconnects"]
    assert "Wombat" not in str([facts(span) for span in traces.spans])


@pytest.mark.parametrize("comes_back", [True, False])
def test_refused_attempts_belong_to_the_conversation(traces: Traces, *, comes_back: bool) -> None:
    """They have no roots of their own: the gap, or the end, says so."""

    async def app(server: ReplayServer) -> None:
        with using(thread_id="caller"):
            async with websockets.connect(server.url + PATH) as socket:
                await socket.recv()
            server.refuse = 503
            for _ in range(2):
                with pytest.raises(websockets.InvalidStatus):
                    await websockets.connect(server.url + PATH, process_exception=lambda e: e)
            if comes_back:
                server.refuse = None
                async with websockets.connect(server.url + PATH) as socket:
                    await socket.recv()

    with ReplayServer([CREATED]) as server:
        asyncio.run(app(server))
    told = "the server refused the websocket handshake: HTTP 503"
    if comes_back:
        gap = traces.one("reconnect")
        assert (2, told) == (
            facts(gap)["otel_realtime.refused_handshakes"],
            gap.status.description,
        )
        assert StatusCode.ERROR != traces.root.status.status_code
    else:
        assert told == traces.root.status.description


def test_an_app_that_attaches_its_next_connection(traces: Traces) -> None:
    """After the loss, in a block that waits; the old connection may be closed at any time."""

    async def app(url: str) -> None:
        async with client_of(url) as client:
            with using(thread_id="caller"):
                old = await client.realtime.connect(model="gpt-realtime").enter()
                await ask(old, "One?")
                call = current_conversation()
                assert call is not None
                new = await client.realtime.connect(model="gpt-realtime").enter()
                call.attach(new)
                await old.close()
                await ask(new, "Two?")
                await new.close()

    with ScriptedServer(TEXT, speed=SPEED) as server:
        asyncio.run(app(server.url))
    assert ["One?", "Fine.", "Two?", "Fine."] == [turn["text"] for turn in turns(traces.root)]
