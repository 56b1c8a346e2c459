"""How processes end: a signal, a fork, an interpreter that exits in this order or that."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fault_server import HALF_A_TURN, FaultServer, Peer
from tests.support.isolation import langsmith_variables
from tests.support.langsmith_server import LangSmithServer
from tests.support.processes import clean_environment
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]

APP = """
import json, os, signal, sys, threading, time
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

out, url = sys.argv[1:3]

class Lines(SpanExporter):
    def export(self, spans):
        with open(out, "a") as file:
            for span in spans:
                print(json.dumps([os.getpid(), span.name, span.status.status_code.name]), file=file)
        return SpanExportResult.SUCCESS

def new_provider(**how):
    provider = TracerProvider(**how)
    provider.add_span_processor(BatchSpanProcessor(Lines(), schedule_delay_millis=60_000))
    return provider

import otel_realtime
from openai import OpenAI

def talk():
    client = OpenAI(api_key="any", websocket_base_url=url)
    connection = client.realtime.connect(
        model="gpt-realtime", websocket_connection_options={"close_timeout": 0.1}
    ).enter()
    for _ in range(5):
        connection.recv()
    return connection

def say(word):
    print(word, flush=True)
"""


def scripted(peer: Peer) -> None:
    """Half a turn, and then silence."""
    peer.accept()
    peer.send(*HALF_A_TURN)
    peer.silent()


class App:
    """A program around ``APP``, and what its exporter wrote."""

    def __init__(self, folder: Path, url: str, body: str, **env: str) -> None:
        script, self.out = folder / "app.py", folder / "spans.jsonl"
        script.write_text(APP + textwrap.dedent(body))
        environment = clean_environment(
            OTEL_REALTIME_STATE_DIR=str(folder / "state"), PYTHONPATH=str(ROOT), **env
        )
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(self.out), url],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def until(self, word: str) -> None:
        """Wait for a line of its output."""
        assert self.process.stdout is not None
        assert word == self.process.stdout.readline().strip()

    def end(self, code: int) -> list[tuple[int, str, str]]:
        """Wait for its exit with this code; the spans it exported."""
        assert code == self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        if not self.out.exists():
            return []
        return [tuple(json.loads(line)) for line in self.out.read_text().splitlines()]


def roots(spans: list[tuple[int, str, str]]) -> list[str]:
    """The statuses of the conversations that ended."""
    return [status for _, name, status in spans if name == "realtime_session"]


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """The scripted server."""
    with FaultServer(scripted) as running:
        yield running


def test_exit_before_the_provider(tmp_path: Path, server: FaultServer) -> None:
    """A process that just exits ends its conversations before its provider shuts down."""
    app = App(
        tmp_path,
        server.url,
        """
        otel_realtime.instrument(tracer_provider=new_provider())
        connection = talk()
        """,
    )
    assert ["UNSET"] == roots(app.end(0))


def test_exit_with_a_provider_made_later(tmp_path: Path, server: FaultServer) -> None:
    """A provider that is made after the first conversation is still served before it shuts down."""
    app = App(
        tmp_path,
        server.url,
        """
        otel_realtime.instrument(tracer_provider=new_provider())
        first = talk()
        otel_realtime.instrument(tracer_provider=new_provider())
        second = talk()
        """,
    )
    assert ["UNSET", "UNSET"] == roots(app.end(0))


@pytest.mark.parametrize("how", ["", "call.close()", "call.close(); sys.exit(0)"])
def test_exit_right_after_the_call(tmp_path: Path, server: FaultServer, how: str) -> None:
    """Root, spans and recording are delivered and kept, once, and nothing is said of it."""
    with LangSmithServer() as langsmith:
        app = App(
            tmp_path,
            server.url,
            f"""
            import base64
            sys.stderr = sys.stdout
            otel_realtime.instrument(tracer_provider=new_provider())
            call = otel_realtime.conversation(thread_id="t").__enter__()
            call.received({{"type": "session.created", "session": {{"model": "gpt-realtime"}}}})
            sound = base64.b64encode(b"\\1\\2" * 480).decode()
            for _ in range(50):
                call.sent({{"type": "input_audio_buffer.append", "audio": sound}})
            {how}
            """,
            OTEL_REALTIME_RECORDINGS_DIR=str(tmp_path / "wavs"),
            **langsmith_variables(langsmith.url),
        )
        assert app.process.stdout is not None
        assert "" == app.process.stdout.read()
        assert ["UNSET"] == roots(app.end(0))
        names = [part.name for request in langsmith.posts() for part in request.parts()]
        assert 1 == len([name for name in names if name.startswith("attachment.")])
        assert 2 == len([name for name in names if name.count(".") == 1])
        assert ["session.created"] == [span.name for span in langsmith.spans()]
    assert 1 == len([*(tmp_path / "wavs").glob("*.wav")])
    assert [] == [*(tmp_path / "state" / "conversations").iterdir()]


def test_sigterm_by_default(tmp_path: Path, server: FaultServer) -> None:
    """Without the setting SIGTERM is none of our business: the process dies of it."""
    app = App(
        tmp_path,
        server.url,
        """
        otel_realtime.instrument(tracer_provider=new_provider())
        connection = talk()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        say("ready")
        time.sleep(30)
        """,
    )
    app.until("ready")
    app.process.send_signal(signal.SIGTERM)
    assert [] == app.end(-signal.SIGTERM)


def test_sigterm_ends_conversations(tmp_path: Path, server: FaultServer) -> None:
    """With the setting conversations end and get out, and the process dies of the signal after all."""
    with LangSmithServer() as langsmith:
        app = App(
            tmp_path,
            server.url,
            """
            otel_realtime.instrument(tracer_provider=new_provider())
            connection = talk()
            say("ready")
            time.sleep(30)
            """,
            OTEL_REALTIME_END_ON_SIGTERM="true",
            **langsmith_variables(langsmith.url),
        )
        app.until("ready")
        app.process.send_signal(signal.SIGTERM)
        assert ["UNSET"] == roots(app.end(-signal.SIGTERM))
        assert 2 == len(langsmith.posts())
        assert "response.created" in {span.name for span in langsmith.spans()}


def test_sigterm_with_a_handler_of_the_apps(tmp_path: Path, server: FaultServer) -> None:
    """The app's own handler runs after the conversations have ended, and decides."""
    app = App(
        tmp_path,
        server.url,
        """
        from otel_realtime.process.process import PROCESS

        def handler(number, frame):
            say(f"handled {len(PROCESS.live)}")
            sys.exit(7)

        signal.signal(signal.SIGTERM, handler)
        otel_realtime.instrument(
            tracer_provider=new_provider(), settings=otel_realtime.Settings(end_on_sigterm=True)
        )
        connection = talk()
        say("ready")
        time.sleep(30)
        """,
    )
    app.until("ready")
    app.process.send_signal(signal.SIGTERM)
    app.until("handled 0")
    assert ["UNSET"] == roots(app.end(7))


def test_sigterm_in_the_middle_of_a_step(tmp_path: Path, server: FaultServer) -> None:
    """The signal finds the main thread inside one of our own locks: nothing hangs."""
    app = App(
        tmp_path,
        server.url,
        """
        from otel_realtime.process.process import PROCESS

        otel_realtime.instrument(
            tracer_provider=new_provider(), settings=otel_realtime.Settings(end_on_sigterm=True)
        )
        connection = talk()
        (conversation,) = PROCESS.live
        with conversation.frames.lock:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
        time.sleep(30)
        """,
    )
    assert ["UNSET"] == roots(app.end(-signal.SIGTERM))


@pytest.mark.parametrize("how", ["os._exit(0)", "sys.exit(0)"])
def test_fork(tmp_path: Path, server: FaultServer, how: str) -> None:
    """A fork's child ends and sends nothing of the parent's call, which goes on and ends whole."""
    with LangSmithServer() as langsmith:
        app = App(
            tmp_path,
            server.url,
            f"""
            from otel_realtime.process.process import PROCESS
            from otel_realtime.tracing import members

            otel_realtime.instrument(tracer_provider=new_provider())
            connection = talk()
            (engine,) = PROCESS.live
            conversation = otel_realtime.Conversation.of(engine)
            with conversation.tool(name="forks"):
                with engine.frames.lock:  # as a thread might hold it just now
                    child = os.fork()
                if child == 0:
                    assert not PROCESS.live and not len(members.TABLE)
                    conversation.received({{"type": "session.updated", "session": {{}}}})
                    conversation.sent({{"type": "response.create"}})
                    conversation.set_metadata(late=True)
                    conversation.close()
                    assert otel_realtime.flush(5)
                    {how}
            assert 0 == os.waitpid(child, 0)[1]
            assert not engine.closed
            conversation.received({{"type": "session.updated", "session": {{}}}})
            connection.close()
            assert otel_realtime.flush(10)
            say(str(os.getpid()))
            """,
            **langsmith_variables(langsmith.url),
        )
        parent = app.process.pid
        spans = app.end(0)
        assert {parent} == {pid for pid, _, _ in spans}
        assert ["UNSET"] == roots(spans)
        assert 1 == [name for _, name, _ in spans].count("execute_tool forks")
        assert 1 == [name for _, name, _ in spans].count("session.updated")
        names = [span.name for span in langsmith.spans()]
        assert sorted(name for _, name, _ in spans if name != "realtime_session") == sorted(names)
        assert 2 == len(langsmith.posts())
        wait_for(lambda: not list((tmp_path / "state" / "conversations").glob("*")), "clean state")


def test_call_in_a_forks_child(tmp_path: Path, server: FaultServer) -> None:
    """A child may hold calls of its own, which are its own."""
    app = App(
        tmp_path,
        server.url,
        """
        otel_realtime.instrument(tracer_provider=new_provider())
        talk().close()
        child = os.fork()
        connection = talk()
        connection.close()
        if child:
            assert 0 == os.waitpid(child, 0)[1]
        """,
    )
    found = app.end(0)
    assert 3 == len(roots(found))
    assert 2 == len({pid for pid, _, _ in found})
