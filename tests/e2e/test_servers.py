"""A server is told to stop while calls are live: everything arrives everywhere, whatever server it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from otel_realtime.attributes import LEG
from otel_realtime.demo.scenario import Answer
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from tests.support import talking
from tests.support.isolation import langsmith_variables
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import ROOT, clean_environment, free_ports
from tests.support.talking import SPEED, tone
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

APP = "tests.support.served_app:app"
#: Longest start and longest end of a server, on a machine that has a lot to do.
LONGEST_S = 60
CALLS = 2

UVICORN = ("uvicorn", APP, "--port", "0")
GUNICORN = ("gunicorn", APP, "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:0", "-w", "2")
HYPERCORN = ("hypercorn", APP, "-b", "127.0.0.1:0")
#: Command line and number of processes that serve.
SERVERS: dict[str, tuple[tuple[str, ...], int]] = {
    "uvicorn": (UVICORN, 1),
    "uvicorn workers": ((*UVICORN, "--workers", "2"), 2),
    "gunicorn": (GUNICORN, 2),
    "gunicorn preload": ((*GUNICORN, "--preload"), 2),
    "hypercorn": ((*HYPERCORN, "-w", "2"), 2),
    "hypercorn alone": ((*HYPERCORN, "-w", "0"), 1),
}


class Places:
    """Everything that the processes of a server talk to."""

    def __init__(self, folder: Path, sandbox: Sandbox, backend: OtlpRecorder, url: str) -> None:
        self.sandbox = sandbox
        self.backend = backend
        self.log = folder / "log.txt"
        self.ready = folder / "ready"
        self.ready.mkdir()
        self._variables = clean_environment(
            PYTHONPATH=str(ROOT),
            SERVER=url,
            READY=str(self.ready),
            OTEL_REALTIME_STATE_DIR=str(folder / "state"),
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{backend.endpoint}/v1/traces",
            OTEL_EXPORTER_OTLP_HEADERS="x-api-key=backend",
            OTEL_BSP_SCHEDULE_DELAY="120000",  # nothing goes out because of the time
            **langsmith_variables(sandbox.url),
        )

    def variables(self, **more: str) -> dict[str, str]:
        """What every process is given."""
        return {**self._variables, **more}

    def begun(self) -> int:
        """How many calls have been answered."""
        return len(list(self.ready.iterdir()))

    def check(self, calls: int) -> None:
        """Every call is finished in LangSmith, with its recording, and whole at the app's backend."""
        listed = self.sandbox.conversations()
        found = [self.sandbox.conversation(one["id"]) for one in listed]
        assert [("success", [], True)] * calls == [
            (one["status"], one["violations"], one["has_recording"]) for one in found if one
        ], self.log.read_text()
        runs = sorted(run["id"] for one in found if one for run in one["runs"])
        # Newer versions of FastAPI make spans of their own.
        spans = [span for span in self.backend.spans() if LEG in span.attributes]
        assert calls == len([span for span in spans if span.name == "realtime_session"])
        assert runs == sorted(span.attributes["langsmith.span.id"] for span in spans)
        assert "Traceback" not in self.log.read_text(), self.log.read_text()


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    """A sandbox, an OTLP backend and a Realtime server on loopback."""
    script = talking.scenario(Answer(text="Hi.", pcm=tone(300)), rate_limits=False)
    with (
        Sandbox(tmp_path / "sandbox") as sandbox,
        OtlpRecorder() as backend,
        ScriptedServer(script, speed=SPEED) as server,
    ):
        yield Places(tmp_path, sandbox, backend, server.url)


@dataclass
class Served:
    """A server that runs, and all its processes."""

    child: subprocess.Popen[bytes]
    places: Places

    def wait(self, calls: int) -> None:
        """Wait until so many calls are live."""

        def begun() -> bool:
            assert self.child.poll() is None, self.places.log.read_text()
            return self.places.begun() >= calls

        wait_for(begun, f"{calls} calls", timeout_s=LONGEST_S)

    def stop(self, *, group: bool = False) -> float:
        """Tell it to stop, or all its processes, and wait for its end; how long it took, in seconds."""
        started = time.monotonic()
        if group:
            os.killpg(self.child.pid, signal.SIGTERM)
        else:
            self.child.terminate()
        assert self.child.wait(LONGEST_S) in {0, -signal.SIGTERM}, self.places.log.read_text()
        return time.monotonic() - started


Serve = Callable[..., Served]


@pytest.fixture
def serve(places: Places) -> Iterator[Serve]:
    """Start a server by ``serve(command, **variables)``; whatever of it is left ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: Sequence[str], **more: str) -> Served:
        with places.log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=places.variables(**more),
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(child)
        return Served(child, places)

    yield start
    for child in started:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()


def how(way: str, *, end_on_sigterm: bool) -> Mapping[str, str]:
    """Variables of ``served_app``."""
    return {
        "SERVED": way,
        "CALLS": str(CALLS),
        "OTEL_REALTIME_END_ON_SIGTERM": str(end_on_sigterm).lower(),
    }


@pytest.mark.parametrize("server", SERVERS)
def test_the_recipe_of_the_readme(serve: Serve, places: Places, server: str) -> None:
    """``shutdown()`` at the end of the lifespan is all that a server needs."""
    command, processes = SERVERS[server]
    served = serve(command, **how("recipe", end_on_sigterm=False))
    served.wait(CALLS * processes)
    served.stop()
    places.check(CALLS * processes)


@pytest.mark.parametrize("server", SERVERS)
def test_end_on_sigterm_installed_after_the_server(
    serve: Serve, places: Places, server: str
) -> None:
    """The server's own handler is there already, and raises the signal again or does not."""
    command, processes = SERVERS[server]
    served = serve(command, **how("startup", end_on_sigterm=True))
    served.wait(CALLS * processes)
    served.stop()
    places.check(CALLS * processes)


@pytest.mark.parametrize("server", ["uvicorn", "uvicorn workers", "gunicorn", "gunicorn preload"])
def test_end_on_sigterm_installed_by_the_import(serve: Serve, places: Places, server: str) -> None:
    """Before the server's handler, inside it, or before a fork that resets every handler."""
    command, processes = SERVERS[server]
    served = serve(command, **how("import", end_on_sigterm=True))
    served.wait(CALLS * processes)
    served.stop()
    places.check(CALLS * processes)


def test_both_at_once(serve: Serve, places: Places) -> None:
    """The recipe and the setting do not get into each other's way."""
    served = serve(UVICORN, **how("recipe", end_on_sigterm=True))
    served.wait(CALLS)
    served.stop()
    places.check(CALLS)


@pytest.mark.parametrize("way", ["recipe", "startup"])
def test_a_backend_that_takes_its_time(serve: Serve, places: Places, way: str) -> None:
    """The signal that uvicorn raises again finds spans that are still on their way."""
    takes_s, stopping = 1.0, threading.Event()
    answer = places.backend.answer

    def slowly(path: str, headers: Mapping[str, str], body: bytes) -> int:
        stopping.wait(30)
        time.sleep(takes_s)
        return answer(path, headers, body)

    places.backend.answer = slowly  # type: ignore[method-assign]
    served = serve(UVICORN, **how(way, end_on_sigterm=way != "recipe"))
    served.wait(CALLS)
    stopping.set()
    assert served.stop() > takes_s / 2  # what is posted when the signal comes is waited for
    places.check(CALLS)


def test_a_signal_to_every_process_of_the_server(serve: Serve, places: Places) -> None:
    """As systemd sends it: hypercorn's workers have no handler of their own, so ours is all there is."""
    command, processes = SERVERS["hypercorn"]
    served = serve(command, **how("startup", end_on_sigterm=True))
    served.wait(CALLS * processes)
    served.stop(group=True)
    places.check(CALLS * processes)


def test_a_caller_who_is_on_the_line(serve: Serve, places: Places) -> None:
    """uvicorn hangs up on the caller, whose call ends by itself; it is delivered as the others are."""
    (port,) = free_ports(1)
    command = ("uvicorn", APP, "--port", str(port))
    served = serve(command, **how("recipe", end_on_sigterm=False))
    served.wait(CALLS)
    with connect(f"ws://127.0.0.1:{port}/call") as caller:
        served.wait(CALLS + 1)
        served.child.terminate()
        with pytest.raises(ConnectionClosed):
            caller.recv(LONGEST_S)
    served.stop()
    places.check(CALLS + 1)


def test_celery(serve: Serve, places: Places, tmp_path: Path) -> None:
    """A worker that is told to stop lets its task finish; a pool process ends without ``atexit``."""
    folder = tmp_path / "broker"
    folder.mkdir()
    celery = ("celery", "-A", "tests.support.celery_app")
    subprocess.run(
        [sys.executable, "-m", *celery, "call", "call", "--args", "[1]"],
        env=places.variables(BROKER=str(folder)),
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=LONGEST_S,
    )
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    served = serve((*celery, "worker", "-c", "1", *quiet), BROKER=str(folder))
    served.wait(1)
    served.stop()
    places.check(1)
