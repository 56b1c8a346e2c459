"""What background threads do for a call-minute, on one thread and without an app beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from otel_realtime.background import Worker
from otel_realtime.langsmith import encoding
from otel_realtime.recording.recorder import Backlog, Recorder
from otel_realtime.recording.track import Track
from otel_realtime.recording.writer import POLL_S
from otel_realtime.state.owner import new_folder
from tests.benchmarks import bench_render, bench_upload
from tests.benchmarks.callers import FRAME_MS, microphone
from tests.benchmarks.client import Counting, variables
from tests.benchmarks.conversation import TURNS, delta, whole
from tests.benchmarks.numbers import Figure, figure
from tests.benchmarks.server import (
    ANSWER_DELTAS,
    DELTA_S,
    FASTER,
    ROOT,
    TURN_S,
    compiled,
    servers,
)

MS = 1_000_000
CALLS = 20
#: Rounds of the writer in a turn.
_VISITS = round(TURN_S / POLL_S)


def _schedule() -> list[list[tuple[int, bool, str | bytes]]]:
    """The frames of a turn, by round of the writer: times within the turn, in ms."""
    frames: list[tuple[int, bool, str | bytes]] = [
        (at, True, json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        for at, audio in zip(
            range(0, round(TURN_S * 1000), FRAME_MS), microphone() * 2, strict=False
        )
    ]
    gap_ms = DELTA_S * 1000 / FASTER
    frames += [(round(number * gap_ms), False, delta(1)) for number in range(ANSWER_DELTAS)]
    frames.sort(key=lambda frame: frame[0])
    poll_ms = POLL_S * 1000
    return [
        [frame for frame in frames if poll_ms * visit <= frame[0] < poll_ms * (visit + 1)]
        for visit in range(_VISITS)
    ]


def base64_frames() -> float:
    """How many audio deltas' worth of base64 a call-minute has."""
    sizes = [len(frame) for frames in _schedule() for _, _, frame in frames]
    return sum(sizes) / len(delta(1)) * 60 / TURN_S


def writer(turns: int) -> list[float]:
    """CPU ms per call-minute of the writer, for each turn of some calls."""
    schedule, found = _schedule(), []
    with tempfile.TemporaryDirectory() as state:
        worker, backlog = Worker("bench"), Backlog()
        recorders = [
            Recorder(Track({}, new_folder(Path(state))), backlog, worker, time.monotonic_ns())
            for _ in range(CALLS)
        ]
        for turn in range(turns):
            spent = 0
            for frames in schedule:
                for recorder in recorders:
                    for at, sent, frame in frames:
                        recorder.frame((round(turn * TURN_S * 1000) + at) * MS, sent, frame)
                before = time.thread_time_ns()
                for recorder in recorders:
                    recorder.process(lambda: False)
                spent += time.thread_time_ns() - before
            found.append(spent / 1e6 / CALLS * 60 / TURN_S)
            if any(
                recorder.summary().bad_frames or recorder.summary().error for recorder in recorders
            ):
                raise AssertionError("the writer wrote nothing")
    return found[1:]


def spans_of_a_call() -> list[encoding.Entry]:
    """The spans of a conversation as they reach the exporter of the LangSmith leg."""
    import otel_realtime
    from otel_realtime.langsmith.exporter import DirectExporter

    taken: list[encoding.Entry] = []

    def put(self: DirectExporter, span: Any, stamp: Any) -> bool:
        taken.append((span, stamp))
        return True

    real: Callable[..., bool] = DirectExporter.put
    provider = Counting().provider
    DirectExporter.put = put  # type: ignore[method-assign]
    try:
        with servers() as where, tempfile.TemporaryDirectory() as state:
            os.environ.update(variables(where, state))
            settings = otel_realtime.Settings(
                state_dir=Path(state), langsmith="direct", record_audio=False
            )
            otel_realtime.instrument(tracer_provider=provider, settings=settings)
            with otel_realtime.conversation(tracer_provider=provider) as call:
                for frame in whole(deltas=2, tools=True):
                    call.received(frame)
            otel_realtime.uninstrument()
            otel_realtime.flush(10)
    finally:
        DirectExporter.put = real  # type: ignore[method-assign]
    if len(taken) < TURNS * 10:
        raise AssertionError(f"only {len(taken)} spans")
    return taken


def encode(entries: list[encoding.Entry], rounds: int) -> tuple[list[float], float]:
    """CPU us of each span that is encoded, for each round; and its bytes."""
    found, size = [], 0.0
    for _ in range(rounds):
        before = time.thread_time_ns()
        batches, lost = encoding.encode(entries, 0)
        found.append((time.thread_time_ns() - before) / 1e3 / len(entries))
        size = sum(len(batch.body) for batch in batches) / len(entries)
        if lost:
            raise AssertionError(f"{lost} spans were not encoded")
    return found, size


def importing() -> float:
    """CPU ms that ``import otel_realtime`` takes beyond what OpenTelemetry brings, in a new process."""
    script = (
        "import time; from opentelemetry.sdk import trace, metrics\n"
        "import opentelemetry.instrumentation.instrumentor\n"
        "before = time.thread_time(); import otel_realtime\n"
        "print((time.thread_time() - before) * 1000)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=ROOT, env=compiled(), capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def measure(rounds: int) -> list[Figure]:
    """Return the costs of import, writer, exporter, render and upload."""
    part = "background"
    importing()  # compiles
    figures = [
        figure(part, "import", "alone", "ms", [importing() for _ in range(rounds + 2)], 50.0),
        figure(part, "the writer", "alone", "ms per call-minute", writer(rounds + 2), 40.0),
    ]
    costs, size = encode(spans_of_a_call(), rounds + 2)
    figures.append(figure(part, "encoding of a span", "alone", "us", costs))
    figures.append(figure(part, "bytes of a span", "sent", "bytes", [size]))
    for label, user, agent in bench_render.SIDES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = bench_render.written(Path(scratch) / "call", 60, user, agent)
            found = [bench_render.cpu_of_render(folder)[1] for _ in range(min(rounds, 3))]
        figures.append(figure(part, f"render of an hour, {label}", "alone", "s", found, 2.0))
    uploads = [bench_upload.cpu_per_minute(10) for _ in range(rounds)]
    figures.append(figure(part, "upload of a recording", "alone", "ms per call-minute", uploads))
    return figures
