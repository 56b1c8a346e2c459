"""Disks that fill, stall or vanish, floods, huge and broken payloads, clocks that jump, limits of the app's."""

from __future__ import annotations

import base64
import json
import logging
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_realtime
from otel_realtime import Settings
from otel_realtime.process.process import PROCESS
from otel_realtime.state import journal, volume
from otel_realtime.state.owner import claim_state, instance_id
from otel_realtime.tracing import members
from tests.support.fault_server import HALF_A_TURN, HELLO, open_files
from tests.support.planted import Script
from tests.support.processes import clean_environment
from tests.support.traces import Traces, facts
from tests.support.waiting import wait_for

CHUNK = base64.b64encode(bytes(range(1, 241)) * 20).decode()
CHUNK_S = 0.1
APPEND = json.dumps({"type": "input_audio_buffer.append", "audio": CHUNK})


def speak(call: otel_realtime.Conversation, chunks: int) -> None:
    """The user's microphone sends tenths of a second of sound."""
    for _ in range(chunks):
        call._engine.frames.frame_sent(APPEND)


def settle() -> None:
    """Wait until the writer has taken in what is queued."""
    for call in list(PROCESS.live):
        assert call.recorder is not None
        call.recorder.settle(5)


def settle_all() -> None:
    """Wait until the writer has been everywhere once more; one round is enough for all."""
    recorders = [call.recorder for call in list(PROCESS.live)]
    wait_for(lambda: not any(each is None or each.pending for each in recorders), "the writer")


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_disk_full(tmp_path: Path, traces: Traces, caplog: pytest.LogCaptureFixture) -> None:
    """The call goes on, the log says it once, and the recording holds what fitted."""
    infos: list[dict[str, Any]] = []
    settings = Settings(on_recording=lambda _path, info: infos.append(info))
    with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
        call.received(HELLO)
        speak(call, 20)
        settle()
        with small_files(30 * 4_800):
            for _ in range(5):
                speak(call, 10)
                settle()
        call.received({"type": "response.created", "response": {"id": "resp_1"}})
    assert otel_realtime.flush(10)
    assert ["session.created", "response.created"] == [
        span.name for span in traces.spans if span.name.endswith("created")
    ]
    assert "File too large" in facts(traces.root)["otel_realtime.recording_error"]
    said = [line for line in caplog.messages if "cannot write the recording" in line]
    assert 1 == len(said)
    assert infos[0]["duration_s"] >= 2.0


def never_close(count: int) -> int:
    """Open conversations in a process that has few descriptors left; return how many are recorded."""
    traces, infos = Traces(), []
    settings = Settings(on_recording=lambda _path, info: infos.append(info))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files() + 120, hard))
    kept = []
    for _ in range(count):
        block = otel_realtime.conversation(settings=settings, tracer_provider=traces.provider)
        call = block.__enter__()
        call.received(HELLO)
        speak(call, 1)
        kept.append(block)
    settle_all()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        socket.create_connection(listener.getsockname()).close()
    with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
        call.received(HELLO)
        speak(call, 5)
    wait_for(lambda: infos, "the recording of a new conversation")
    PROCESS.close_all()
    assert otel_realtime.flush(120)
    return len(infos)


@pytest.mark.parametrize("count", [250, pytest.param(3000, marks=pytest.mark.soak)])
def test_conversations_that_are_never_closed(tmp_path: Path, count: int) -> None:
    """They leave the app its descriptors, which is said once; all of them are recorded, and new ones."""
    script = f"from tests.faults.test_limits import never_close; print(never_close({count}))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        env={**clean_environment(), "OTEL_REALTIME_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (0, f"{count + 1}\n") == (done.returncode, done.stdout), done.stderr
    assert (1, 0) == tuple(
        done.stderr.count(text) for text in ("have to be closed", "Too many open files")
    )


FULL_DISK = """
import json, sys
from pathlib import Path
sys.path.insert(0, {root!r})
import otel_realtime
from tests.faults.test_limits import APPEND, HELLO, settle, speak
from tests.support.traces import Traces, facts

traces = Traces()
settings = otel_realtime.Settings(
    state_dir=Path(sys.argv[1]) / "state", on_recording=lambda path, info: None
)
with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
    call.received(HELLO)
    for _ in range(20):
        speak(call, 10)
        settle()
otel_realtime.flush(10)
print(json.dumps(facts(traces.root)["otel_realtime.recording_error"]))
"""


def test_a_real_full_disk(tmp_path: Path) -> None:
    """On a volume that is full the call ends as ever, and its root says why it has no recording."""
    script, disk = tmp_path / "full.py", tmp_path / "disk"
    disk.mkdir()
    script.write_text(FULL_DISK.format(root=str(Path(__file__).parents[2])))
    mounted = f"mount -t tmpfs -o size=200k none {disk} && exec {sys.executable} {script} {disk}"
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"]).returncode:
        pytest.skip("no file system can be mounted here")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mounted], capture_output=True, text=True, timeout=60
    )
    assert 0 == done.returncode, done.stderr
    assert "No space left" in done.stdout
    assert "is in memory (tmpfs)" in done.stderr


def test_stalled_disk(traces: Traces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs holds up neither the app nor the close; all of it is there in the end."""
    infos: list[dict[str, Any]] = []
    moves, write = threading.Event(), journal.Folder.write

    def hanging(self: journal.Folder, *data: Any) -> None:
        moves.wait(20)
        write(self, *data)

    monkeypatch.setattr(journal.Folder, "write", hanging)
    settings = Settings(on_recording=lambda _path, info: infos.append(info))
    call = otel_realtime.conversation(settings=settings, tracer_provider=traces.provider)
    with call as opened:
        opened.received(HELLO)
        speak(opened, 10)
        time.sleep(10 * CHUNK_S)
        opened.received({"type": "response.created", "response": {"id": "resp_1"}})
    assert {"realtime_session", "session.created", "response.created", "chat gpt-realtime"} == {
        span.name for span in traces.spans
    }
    assert not otel_realtime.flush(0.05)
    moves.set()
    assert otel_realtime.flush(20)
    assert infos[0]["duration_s"] >= 10 * CHUNK_S - 0.2


def test_state_dir_deleted_in_mid_call(
    traces: Traces, process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The call goes on, the next one has its recording, and this process still owns its folders."""
    infos: list[dict[str, Any]] = []
    state = tmp_path / "state"
    settings = Settings(state_dir=state, on_recording=lambda _path, info: infos.append(info))
    with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
        call.received(HELLO)
        speak(call, 10)
        settle()
        shutil.rmtree(state)
        speak(call, 10)
    otel_realtime.flush(10)
    assert [] == infos
    with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
        call.received(HELLO)
        speak(call, 10)
        settle()
        assert (state / "owners" / f"{instance_id()}.lock").exists()
    assert otel_realtime.flush(10)
    assert 1 == len(infos)
    assert 2 == len(traces.roots)


def test_state_dir_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A state directory on tmpfs is warned about, once."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\n")
    monkeypatch.setattr(volume, "_MOUNTS", mounts)
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        claim_state(tmp_path / "state")
    assert 1 == sum("tmpfs" in line for line in caplog.messages)
    assert not volume.is_in_memory(Path("/usr"))


def encodes(traces: Traces) -> None:
    """Every span goes through the real OTLP encoder, and every JSON attribute is JSON."""
    assert encode_spans(traces.spans).SerializeToString()
    for span in traces.spans:
        for key, value in facts(span).items():
            if key in JSON:
                json.loads(value)


JSON = {
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "langsmith.usage_metadata",
}


def test_a_frame_of_50_mb(traces: Traces) -> None:
    """A huge frame becomes a bounded attribute; a huge audio frame is only queued."""
    text = "x" * 50_000_000
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        call.received(HELLO)
        call.received(
            {
                "type": "conversation.item.added",
                "item": {
                    "id": "i1",
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": text}],
                },
            }
        )
        call._engine.frames.frame_received(
            f'{{"type":"response.output_audio.delta","delta":"{text}"}}'
        )
        call.received({"type": "unheard.of", "many": {str(n): n for n in range(100_000)}})
    for span in traces.spans:
        assert max(len(v) for v in facts(span).values() if isinstance(v, str)) <= 32_768
    encodes(traces)


@pytest.mark.alone
def test_ten_thousand_events(traces: Traces) -> None:
    """A flood is taken in at a bounded cost each; past the span limit it is counted, errors are not."""
    settings = Settings(span_limit=500)
    frames = [
        json.dumps({"type": "input_audio_buffer.committed", "item_id": f"i{n}"})
        for n in range(10_000)
    ]
    with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
        call.received(HELLO)
        began = time.process_time()
        for frame in frames:
            call._engine.frames.before_receive()
            call._engine.frames.frame_received(frame)
        first = time.process_time() - began
        call.received({"type": "error", "error": {"type": "late", "message": "still told"}})
        for event in HALF_A_TURN[1:3]:
            call.received(event)
        with call.tool(name="own"):
            pass
    assert first < 10  # a second on an idle machine; a quadratic cost would be minutes
    names = [span.name for span in traces.spans]
    assert 499 == names.count("session.created") + names.count("input_audio_buffer.committed")
    assert {"error", "chat gpt-realtime", "execute_tool own"} <= set(names)
    # The last events of the flood, and two of the three that followed.
    assert 10_001 - 499 + 2 == facts(traces.root)["otel_realtime.dropped_events"]


def planted_turn() -> Iterator[dict[str, Any]]:
    """A whole turn with everything in it."""
    yield from Script("x").opening()
    yield from Script("x").turn()


@pytest.mark.parametrize(
    "order",
    [reversed, lambda events: events + events, lambda events: events[5:] + events[:5]],
    ids=["backwards", "twice", "late start"],
)
def test_order_and_duplicates(order: Callable[[list[Any]], Any], traces: Traces) -> None:
    """Events in a wrong order, or twice with the same ids, make a whole tree all the same."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        for event in order(list(planted_turn())):
            call.received(event)
    chats = [span for span in traces.spans if span.name.startswith("chat")]
    assert 2 == len({facts(span)["gen_ai.response.id"] for span in chats}) == len(chats)
    encodes(traces)


@pytest.mark.parametrize(
    "times",
    [
        [0, 10**18, 5, 10**18 + 1],
        [10**18, 10**18 + 10**13, 10**18 - 10**13, 10**18 + 1],
        [-(10**18), 0, 1, 2],
        [10**25, 1, 2, 3],
        [2**63 - 1, 2**63, 2**63 + 1, 0],
        [1.5e18, float("nan"), float("inf"), None],
    ],
)
def test_clocks_that_jump(times: list[Any], traces: Traces) -> None:
    """Whatever times the app names, no span ends before it starts, or outside of its root."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        for at_ns, event in zip(times, HALF_A_TURN, strict=False):
            call.received(event, at_ns=at_ns)
            call.sent({"type": "response.create"}, at_ns=at_ns)
    root = traces.root
    assert root.start_time is not None
    assert root.end_time is not None
    for span in traces.spans:
        assert isinstance(span.start_time, int)
        assert isinstance(span.end_time, int)
        assert root.start_time <= span.start_time <= span.end_time <= root.end_time
    encodes(traces)


AWKWARD = [
    r'{"type":"response.created","response":{"id":"\ud83d","metadata":{"\udc00":"\ud800"}}}',
    r'{"type":"\ud800.created","event_id":"\udfff"}',
    r'{"type":"error","error":{"type":"\ud800","code":"\ud801","message":"\udc00"}}',
    '{"type":"rate_limits.updated","n":' + "9" * 4_000 + "}",
    '{"type":"rate_limits.updated","n":' + "9" * 5_000 + "}",
    '{"type":"rate_limits.updated","n":1e999,"m":-1e999}',
    '{"type":"x.y","deep":' + "[" * 5_000 + "]" * 5_000 + "}",
    '{"type":"x.y","deep":' + '{"a":' * 400 + "1" + "}" * 400 + "}",
    '{"type":"response.done","response":{"id":"r","output":5,"usage":7,"status":[]}}',
    '{"type":"response.done","response":{"id":"r2","usage":{"input_tokens":' + "9" * 40 + "}}}",
    '{"type":"conversation.item.added","item":{"id":"i","content":[[],{},null,7]}}',
    '{"type":"session.updated","session":{"audio":7,"tools":"x","model":["m"],"voice":{}}}',
    '{"type":"session.updated","session":[]}',
    '{"type":"input_audio_buffer.speech_started","item_id":"v","audio_start_ms":' + "9" * 99 + "}",
]


def test_awkward_payloads(traces: Traces) -> None:
    """Half characters, endless numbers and wrong shapes: all is taken in, all of it encodes."""
    with otel_realtime.conversation(
        tracer_provider=traces.provider,
        thread_id="t\ud800",
        metadata={"a\ud800": "b\udfff", "n": 10**30, "deep": [[["\ud800"]]], "f": float("nan")},
        tags=["\ud800", "ok"],
    ) as call:
        for frame in AWKWARD:
            call.received(frame)
            call.received(frame.encode())
        with call.tool("c\ud800", name="n\ud800", arguments="\ud800"):
            pass
    encodes(traces)


@pytest.mark.parametrize("limit", [256, 1_000])
def test_payloads_over_the_limit(limit: int, traces: Traces) -> None:
    """Long payloads are shortened from within: what arrives is JSON of at most that length."""
    with otel_realtime.conversation(
        tracer_provider=traces.provider, settings=Settings(payload_limit=limit)
    ) as call:
        for event in planted_turn():
            call.received(event)
    encodes(traces)
    for span in traces.spans:
        assert all(len(value) <= limit for key, value in facts(span).items() if key in JSON)


class Limited(Traces):
    """A provider with limits of the app's own."""

    def __init__(self, limits: SpanLimits) -> None:
        self._memory = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, span_limits=limits)
        self.provider.add_span_processor(SimpleSpanProcessor(self._memory))


@pytest.mark.parametrize("length", [10, 64, 128, 500])
@pytest.mark.parametrize("which", ["max_attribute_length", "max_span_attribute_length"])
def test_the_apps_value_length_limit(which: str, length: int) -> None:
    """Attributes that hold JSON hold JSON, however short the provider cuts them."""
    traces = Limited(SpanLimits(**{which: length}))
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        for event in planted_turn():
            call.received(event)
        with call.tool("call_1"):
            pass
    encodes(traces)


def test_the_limits_of_the_environment(process: pytest.MonkeyPatch) -> None:
    """The same by OpenTelemetry's own variable."""
    process.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "200")
    traces = Traces()
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        for event in planted_turn():
            call.received(event)
    encodes(traces)
    assert 200 >= max(len(v) for v in facts(traces.root).values() if isinstance(v, str))


def test_the_apps_attribute_count_limit(traces: Traces) -> None:
    """Hundreds of metadata keys push none of our own facts off the root."""
    metadata = {f"key_{n}": n for n in range(300)}
    with otel_realtime.conversation(tracer_provider=traces.provider, metadata=metadata) as call:
        call.received(HELLO)
        call.set_metadata(**{f"more_{n}": n for n in range(300)})
    root = facts(traces.root)
    assert 0 == traces.root.dropped_attributes
    assert {"langsmith.span.kind", "otel_realtime.thread_id", "gen_ai.completion"} <= set(root)
    assert 0 == root["otel_realtime.metadata.key_0"]


def test_nothing_is_left() -> None:
    """After all that nothing is live and nothing is remembered."""
    assert not PROCESS.live
    wait_for(lambda: not len(members.TABLE), "empty table", timeout_s=5)
    assert os.getpid()
