"""`websocket-client`: sockets that an app reads itself, and a `WebSocketApp` with callbacks."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from otel_realtime import diagnostics, tap
from otel_realtime.tap import Close
from otel_realtime.tap.websocket_client import WebSocketTap
from tests.support.realtime_server import Peer, ReplayServer
from tests.support.waiting import wait_for
from tests.tap.recording import RecordingObserver

websocket = pytest.importorskip("websocket")

FRAMES = [json.dumps({"type": "session.created", "n": number}) for number in range(27)]
#: Earlier versions forget the server's answer to a close.
KEEPS_ANSWER = hasattr(websocket.WebSocket(), "close_frame")
PATH = "/realtime?model=m&api-key=secret"
SECRET = ["Authorization: Bearer sk-secret"]
Lost = websocket.WebSocketConnectionClosedException
Use = Callable[[Any], Any]


def _script(peer: Peer) -> None:
    peer.recv()
    peer.send(*FRAMES)
    peer.close(1000, "that is all")


def _vanish(peer: Peer) -> None:
    peer.recv()
    peer.drop()


def _call(server: ReplayServer, use: Use, path: str = PATH, **given: Any) -> Any:
    with closing(websocket.create_connection(server.url + path, header=SECRET, **given)) as socket:
        return use(socket)


def _text(data: Any) -> str:
    return data if isinstance(data, str) else data.decode()


def _recv(socket: Any) -> list[str]:
    socket.send("hello")
    got = []
    while frame := socket.recv():
        got.append(_text(frame))
    return got


def _iterate(socket: Any) -> list[str]:
    socket.send_text("hello") if hasattr(socket, "send_text") else socket.send("hello")
    got: list[str] = []
    for frame in socket:
        if not frame:
            break
        got.append(_text(frame))
    return got


def _recv_data(socket: Any) -> list[str]:
    socket.send_frame(websocket.ABNF.create_frame("hello", websocket.ABNF.OPCODE_TEXT))
    got = []
    while True:
        opcode, data = socket.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return got
        got.append(_text(data))


@pytest.mark.parametrize("use", [_recv, _iterate, _recv_data])
def test_each_frame_passes_once(observer: RecordingObserver, use: Use) -> None:
    """However the app reads and writes; the handshake tells no header."""
    with ReplayServer(_script) as server:
        assert FRAMES == _call(server, use)
        assert ["Bearer sk-secret"] == server.peers[0].headers.get_all("Authorization")
    sink = observer.sink
    assert FRAMES == sink.received_text
    assert ["hello"] == server.received == [_text(frame) for frame in sink.sent_frames]
    expected = Close(
        received_code=1000, received_reason="that is all", sent_code=1000, by_client=False
    )
    assert [expected] == sink.closes
    (handshake,) = observer.handshakes
    assert (handshake.path, handshake.query) == ("/v1/realtime", {"model": "m"})
    assert (handshake.host, handshake.port) == ("127.0.0.1", server.port)


def test_every_form_of_message_is_reported_whole(observer: RecordingObserver) -> None:
    """Text and bytes; pings, pongs and parts of messages are no messages."""

    def use(socket: Any) -> None:
        socket.send("text")
        socket.send_binary(b"bytes")
        socket.ping("ping")
        socket.pong("pong")
        for part in (("a", websocket.ABNF.OPCODE_TEXT, 0), ("b", websocket.ABNF.OPCODE_CONT, 1)):
            socket.send_frame(websocket.ABNF.create_frame(*part))

    with ReplayServer() as server:
        _call(server, use)
        server.wait(lambda: len(server.received) == 3)
    assert ["text", b"bytes", "ab"] == server.received
    assert ["text", "bytes"] == [_text(frame) for frame in observer.sink.sent_frames]


def test_the_apps_close_is_told(observer: RecordingObserver) -> None:
    """With both codes, before ``close`` returns, in the thread that closes."""

    def use(socket: Any) -> int:
        socket.close(1001, b"bye")
        return len(observer.sink.closes)

    with ReplayServer() as server:
        assert 1 == _call(server, use)
    (close,) = observer.sink.closes
    answer = (1001, "bye") if KEEPS_ANSWER else (None, "")
    assert (*answer, 1001) == (close.received_code, close.received_reason, close.sent_code)
    assert (True, None) == (close.by_client, close.error)
    assert [threading.get_ident()] == observer.sink.closed_in


def test_a_lost_connection_ends_it(observer: RecordingObserver) -> None:
    """A reset that the reader sees."""

    def use(socket: Any) -> None:
        socket.send("hello")
        with pytest.raises((Lost, ConnectionError)):
            socket.recv()

    with ReplayServer(_vanish) as server:
        _call(server, use)
    (close,) = observer.sink.closes
    assert (None, False) == (close.received_code, close.by_client)


def test_a_recv_that_times_out_loses_nothing(observer: RecordingObserver) -> None:
    """It is not the end, and the frame comes with the next call."""

    def use(socket: Any) -> list[str]:
        socket.settimeout(0.05)
        with pytest.raises(websocket.WebSocketTimeoutException):
            socket.recv()
        assert [] == observer.sink.closes
        socket.settimeout(10)
        return _recv(socket)

    with ReplayServer(_script) as server:
        assert FRAMES == _call(server, use)
    assert FRAMES == observer.sink.received_text


def test_two_threads_send_and_receive(observer: RecordingObserver) -> None:
    """Each frame once, in both directions."""

    def echo(peer: Peer) -> None:
        while len(peer.received) < 100:
            peer.send(peer.recv())
        peer.close()

    def use(socket: Any) -> list[str]:
        sender = threading.Thread(target=lambda: [socket.send(f"{n}") for n in range(100)])
        sender.start()
        got = []
        while frame := socket.recv():
            got.append(_text(frame))
        sender.join(5)
        return got

    with ReplayServer(echo) as server:
        got = _call(server, use)
    assert [f"{n}" for n in range(100)] == got == observer.sink.received_text
    assert got == [_text(frame) for frame in observer.sink.sent_frames]


# -- a WebSocketApp --------------------------------------------------------------------------------


class App:
    """An app with callbacks, as in OpenAI's own sample.

    Args:
        server: whom it calls.
        observer: asked for the number of questions for the next frame, in each callback.
        callbacks: names of the callbacks, besides ``on_open`` and ``on_close``, that it has.
        on_frame: called with the socket for each frame.
    """

    def __init__(
        self,
        server: ReplayServer,
        observer: RecordingObserver,
        callbacks: tuple[str, ...] = ("on_message",),
        on_frame: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.got: list[str] = []
        self.asked: list[int] = []
        self.ended: list[Any] = []

        def take(app: Any, data: Any, *_: Any) -> None:
            self.got.append(_text(data))
            self.asked.append(observer.sinks[-1].asked)
            on_frame(app)

        self.app = websocket.WebSocketApp(
            server.url + PATH,
            header=SECRET,
            on_open=lambda app: app.send("hello"),
            on_close=lambda _, *how: self.ended.append(how),
            **{name: functools.partial(take) for name in callbacks},
        )

    def run(self, **given: Any) -> None:
        """Until the connection ends."""
        self.app.run_forever(**given)


@pytest.mark.parametrize("callbacks", [("on_message",), ("on_data",)])
def test_an_apps_callbacks(observer: RecordingObserver, callbacks: tuple[str, ...]) -> None:
    """Each frame once; the app is done with it when its callback returns, not at the next frame."""

    def slowly(peer: Peer) -> None:
        peer.recv()
        peer.send(FRAMES[0])
        peer.recv()
        peer.close(1011, "boom")

    def answer(app: Any) -> None:
        app.send("ok")

    with ReplayServer(slowly) as server:
        app = App(server, observer, callbacks, answer)
        app.run()
    sink = observer.sink
    assert FRAMES[:1] == app.got == sink.received_text
    assert ["hello", "ok"] == [_text(frame) for frame in sink.sent_frames]
    # Once for this frame, once after its callback, once for the close frame.
    assert ([1], 3) == (app.asked, sink.asked)
    (close,) = sink.closes
    assert (1011, "boom", False) == (close.received_code, close.received_reason, close.by_client)


def test_both_callbacks_are_one_handling(observer: RecordingObserver) -> None:
    """``on_data`` and ``on_message`` are called for the same frame."""
    with ReplayServer(FRAMES[:1], close=(1000, "")) as server:
        app = App(server, observer, ("on_data", "on_message"))
        app.run()
    assert ([1, 1], 3) == (app.asked, observer.sink.asked)


def test_an_app_that_closes_in_its_callback(observer: RecordingObserver) -> None:
    """That is its end, in the thread of the callback."""
    with ReplayServer(FRAMES[:1]) as server:
        app = App(server, observer, on_frame=lambda app: app.close())
        app.run()
    (close,) = observer.sink.closes
    answer = 1000 if KEEPS_ANSWER else None
    assert (True, 1000, answer) == (close.by_client, close.sent_code, close.received_code)


def test_an_app_that_is_closed_from_another_thread(observer: RecordingObserver) -> None:
    """While its own waits for a frame."""
    with ReplayServer(FRAMES[:1]) as server:
        app = App(server, observer)
        thread = threading.Thread(target=app.run)
        thread.start()
        server.wait(lambda: app.got)
        app.app.close()
        thread.join(20)
    (close,) = observer.sink.closes
    assert (True, None) == (close.by_client, close.error)


def test_a_callback_that_raises(observer: RecordingObserver) -> None:
    """The library tells ``on_error`` and goes on; so does the tap."""

    def fail(_: Any) -> None:
        raise ValueError("the app's")

    with ReplayServer(FRAMES[:2], close=(1000, "")) as server:
        app = App(server, observer, on_frame=fail)
        app.run()
    assert FRAMES[:2] == app.got == observer.sink.received_text
    assert 1 == len(observer.sink.closes)


def test_parts_of_messages_are_told_whole(observer: RecordingObserver) -> None:
    """An app may ask the library for the parts."""

    def script(peer: Peer) -> None:
        peer.connection.send(iter(['{"type":', '"session', '.created"}']))
        peer.send("whole")
        peer.close()

    parts: list[str] = []
    with ReplayServer(script) as server:
        app = App(server, observer)
        app.app.on_cont_message = lambda _, data, fin: parts.append(_text(data))
        app.run()
    assert ['{"type":"session.created"}', "whole"] == observer.sink.received_text
    assert parts


def test_a_lost_connection_of_an_app(observer: RecordingObserver) -> None:
    """Is an end without a close frame."""
    with ReplayServer(_vanish) as server:
        App(server, observer).run()
    (close,) = observer.sink.closes
    assert (None, False) == (close.received_code, close.by_client)


def test_a_missing_pong_is_a_lost_connection(observer: RecordingObserver) -> None:
    """The library closes by itself then; that is not the app."""
    done = threading.Event()

    def deaf(peer: Peer) -> None:
        peer.recv()
        with peer.connection.protocol_mutex:  # it answers nothing
            done.wait(10)

    with ReplayServer(deaf) as server:
        App(server, observer).run(ping_interval=0.3, ping_timeout=0.2)
        done.set()
    (close,) = observer.sink.closes
    assert (None, False) == (close.received_code, close.by_client)


def test_an_app_that_reconnects(observer: RecordingObserver) -> None:
    """Every connection is seen, and each ends once."""

    def second(peer: Peer) -> None:
        peer.recv()
        peer.send(FRAMES[1])
        peer.listen()

    with ReplayServer([_vanish, second]) as server:
        app = App(server, observer, on_frame=lambda app: app.close())
        app.run(reconnect=1)
    assert [[], [FRAMES[1]]] == [sink.received_text for sink in observer.sinks]
    assert [["hello"]] * 2 == [
        [_text(frame) for frame in sink.sent_frames] for sink in observer.sinks
    ]
    assert [1, 1] == [len(sink.closes) for sink in observer.sinks]
    assert [False, True] == [sink.closes[0].by_client for sink in observer.sinks]


# -- handshakes ------------------------------------------------------------------------------------


def test_a_refused_handshake_is_told(observer: RecordingObserver) -> None:
    """With its status; the app's exception is its own, and no header is kept."""
    with ReplayServer(refuse=401) as server, pytest.raises(Exception, match="401") as caught:
        _call(server, _recv)
    (refusal,) = observer.refusals
    assert (401, caught.value, "/v1/realtime") == (refusal.status, refusal.error, refusal.path)
    assert "secret" not in repr(refusal.query)


@pytest.mark.parametrize("url", ["nonsense", "ws://[::1/realtime", None])
def test_a_url_that_the_library_refuses(observer: RecordingObserver, url: Any) -> None:
    """The app's mistake is the app's."""
    with pytest.raises(Exception, match=r".*"):
        websocket.create_connection(url)
    assert [] == observer.refusals


def test_other_sockets_are_left_alone(observer: RecordingObserver) -> None:
    """Paths that are none of ours, and everything after ``uninstall``."""

    def use(socket: Any) -> list[str]:
        assert not [name for name in vars(socket) if "otel" in name and "url" not in name]
        return _recv(socket)

    with ReplayServer(_script) as server:
        _call(server, use, "/chat")
        tap.uninstall()
        _call(server, use)
    assert [] == observer.sinks


def test_a_socket_that_is_released_is_as_it_was() -> None:
    """The library's own methods are back on it."""
    observer = RecordingObserver(released_after=3)
    tap.install(observer)

    def use(socket: Any) -> list[str]:
        got = _recv(socket)
        assert not {"recv_data_frame", "send_frame", "close", "shutdown"} & set(vars(socket))
        return got

    with ReplayServer(_script) as server:
        assert FRAMES == _call(server, use)
    assert 0 == observer.sink.calls_after_released


def test_an_open_socket_can_be_attached() -> None:
    """Also by the app that runs on it; the second time the sink is the same."""
    observer, sinks = RecordingObserver(), []

    def use(socket: Any) -> list[str]:
        sinks.extend(tap.attach(socket, observer) for _ in range(2))
        return _recv(socket)

    with ReplayServer(_script) as server:
        assert FRAMES == _call(server, use)
        running = App(server, observer)
        running.app.on_open = lambda app: (sinks.append(tap.attach(app, observer)), app.send("x"))
        running.run()
    assert [observer.sinks[0]] * 2 + [observer.sinks[1]] == sinks
    assert [FRAMES] * 2 == [sink.received_text for sink in observer.sinks]


def test_a_version_that_is_not_known_is_said_once(
    observer: RecordingObserver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its sockets are left alone, and nothing is opened for them."""
    monkeypatch.setattr(WebSocketTap, "reads", (*WebSocketTap.reads, "renamed"))
    diagnostics.REGISTER.clear()
    with ReplayServer(_script) as server:
        for _ in range(2):
            assert FRAMES == _call(server, _recv)
        _call(server, _recv, "/chat")
    assert [] == observer.sinks
    (record,) = caplog.records
    assert "this version of websocket has sockets that we do not know" in record.getMessage()


def test_a_shutdown_of_the_app_ends_it(observer: RecordingObserver) -> None:
    """It is the library's way to leave without a close frame."""
    with ReplayServer() as server:
        socket = websocket.create_connection(server.url + PATH)
        started = time.monotonic()
        socket.shutdown()
        wait_for(lambda: observer.sink.closes, "end", every_s=0.005)
    assert time.monotonic() - started < 5


def test_the_library_may_be_imported_later() -> None:
    """It is not imported for the tap, and tapped when the app does."""
    code = (
        "import sys; from otel_realtime import tap; tap.install(object());"
        "assert 'websocket' not in sys.modules;"
        "import websocket; print(hasattr(websocket.WebSocket.connect, '__wrapped__'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "True" == done.stdout.strip()
