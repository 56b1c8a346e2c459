"""What the recovery tests share: conversations whose folder outlives them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import otel_realtime
from otel_realtime.process.process import PROCESS
from otel_realtime.state.journal import JOURNAL
from otel_realtime.state.stored import STORED
from tests.recovery.healthy import HEALTHY_OWNER
from tests.recovery.victim import Caller
from tests.support import golden, isolation
from tests.support.isolation import langsmith_variables
from tests.support.langsmith_server import LangSmithServer
from tests.support.traces import Traces

NOWHERE = "http://127.0.0.1:9"
DEAD = "0" * 31 + "1"
"""The instance id of a process that never was."""


@pytest.fixture
def away(process: pytest.MonkeyPatch) -> None:
    """The variables name a LangSmith that does not answer."""
    for name, value in langsmith_variables(NOWHERE).items():
        process.setenv(name, value)
    process.setenv("OTEL_REALTIME_RECOVER_ON_START", "false")
    process.setattr(isolation, "_LEFT_S", 0.1)  # there is nobody to wait for at the end


@pytest.fixture
def snapshot(tmp_path: Path) -> Callable[[otel_realtime.Conversation], Path]:
    """Copies a conversation's folder, as a dead process would have left it."""

    def take(call: otel_realtime.Conversation) -> Path:
        recorder = call._engine.frames.recorder
        assert recorder is not None
        assert recorder.settle(5)
        assert recorder.folder is not None
        name = DEAD + recorder.folder.name[len(DEAD) :]
        copy = tmp_path / "left" / "conversations" / name
        # A file that is being written gets its name when it is complete.
        shutil.copytree(recorder.folder, copy, ignore=shutil.ignore_patterns("*.part"))
        return copy

    return take


@pytest.fixture
def server(process: pytest.MonkeyPatch) -> Iterator[LangSmithServer]:
    """A LangSmith that the variables name, and that takes everything."""
    with LangSmithServer() as running:
        for name, value in langsmith_variables(running.url).items():
            process.setenv(name, value)
        yield running


@pytest.fixture
def state(server: LangSmithServer, tmp_path: Path) -> Path:
    """What a healthy process left for that LangSmith."""
    return golden.copy(
        "0.1.0", tmp_path / "left", url=server.url, recordings=tmp_path, only=HEALTHY_OWNER
    )


def one_turn(traces: Traces, **given: object) -> otel_realtime.Conversation:
    """A conversation with one turn behind it, still open."""
    call = otel_realtime.conversation(
        tracer_provider=traces.provider,
        **given,  # type: ignore[arg-type]
    ).__enter__()
    caller = Caller(call)
    caller.begin()
    caller.turn()
    return call


def tool_call(call: otel_realtime.Conversation) -> None:
    """The model calls a function, and the app asks for the next frame at once."""
    item = {"id": "item_9", "type": "function_call", "call_id": "call_9", "name": "look"}
    body = {"id": "resp_9", "status": "completed", "output": [{**item, "arguments": "{}"}]}
    call.received({"type": "response.done", "event_id": "event_9", "response": body})
    call._engine.frames.before_receive()


def without_list(folder: Path) -> Path:
    """A journal as version 0.1.0 wrote it: nothing says which spans reached the disk."""
    journal = folder / JOURNAL
    first, newline, rest = journal.read_bytes().partition(b"\n")
    kind, t, header = json.loads(first)
    del header["lists_spans"]
    journal.write_bytes(json.dumps([kind, t, header]).encode() + newline + rest)
    (folder / STORED).unlink(missing_ok=True)
    return folder


def end(call: otel_realtime.Conversation) -> None:
    """Close it and wait until its end is known."""
    call.close()
    assert PROCESS.finisher.flush(10)
