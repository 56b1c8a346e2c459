"""The recorded streams, fed to ``conversation()`` by hand with their times: a whole trace each."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import otel_realtime
from otel_realtime.core.protocol.events import GA_NAMES
from tests.support import talking
from tests.support.attribute_table import against_table
from tests.support.isolation import isolated, sandboxed
from tests.support.traces import Traces, arrived, facts, outline, run_of, samples

EVENTS = Path(__file__).parents[2] / "../shared/data/events"
FILES = sorted(path.name for path in EVENTS.glob("*.jsonl"))
BEGAN_NS = 1_780_000_000_000_000_000
STEP_MS = 20

pytestmark = pytest.mark.skipif(not FILES, reason="the recorded streams are not here")


@dataclass(frozen=True, repr=False)
class Stream:
    """A replayed stream: its rows with their times (ns since the first), and what came of it."""

    rows: list[dict[str, Any]]
    traces: Traces
    conversation: dict[str, Any]
    recording: Path | None

    def events(self, direction: str, kind: str | None = None) -> list[tuple[int, Any]]:
        """Time and event of each row of a direction, all or those of one type."""
        return [
            (row["t"], row["event"])
            for row in self.rows
            if row["dir"] == direction and kind in (None, row["event"]["type"])
        ]


def rows_of(name: str) -> list[dict[str, Any]]:
    """The frames of a stream, each with its time; streams without times go in even steps."""
    rows = [json.loads(line) for line in (EVENTS / name).read_text("utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["t"] = round(row.get("t_ms", number * STEP_MS) * 1_000_000)
    return rows


@pytest.fixture(scope="module", params=FILES)
def stream(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stream]:
    """Each stream, fed as an app on another transport would."""
    folder, traces, rows = tmp_path_factory.mktemp("replay"), Traces(), rows_of(request.param)
    with isolated(folder) as patch, sandboxed(folder, patch) as sandbox:
        with otel_realtime.conversation(tracer_provider=traces.provider) as call:
            for row in rows:
                report = call.received if row["dir"] == "recv" else call.sent
                report(row["event"], at_ns=BEGAN_NS + row["t"])
        assert otel_realtime.flush(20)
        conversation = arrived(sandbox, traces.spans)
        yield Stream(rows, traces, conversation, sandbox.recording(run_of(traces.root)))


def test_each_stream_is_a_whole_trace(stream: Stream) -> None:
    """Every structural event is a span in order, every response a model call, every call a tool."""
    events = [event for _, event in stream.events("recv")]
    kinds = [event["type"] for event in events]
    top = [line.strip() for line in outline(stream.traces.spans) if not line.startswith("    ")]
    made = ("chat ", "transcribe ", "execute_tool ")
    assert [kind for kind in kinds if not kind.endswith(".delta")] == [
        line for line in top[1:] if not line.startswith(made)
    ]
    ends = Counter(GA_NAMES.get(kind, kind) for kind in kinds)
    called = {
        item["call_id"]
        for event in events
        if event["type"] == "response.done"
        for item in event["response"]["output"] or ()
        if item["type"] == "function_call"
    }
    transcripts = ends["conversation.item.input_audio_transcription.completed"]
    assert (ends["response.done"], transcripts, len(called)) == tuple(
        sum(span.name.startswith(name) for span in stream.traces.spans) for name in made
    )
    assert "success" == stream.conversation["status"]


def test_only_attributes_of_the_table(stream: Stream) -> None:
    """Whatever the real service sends, only the table's attributes come out, in its types."""
    assert [] == [word for span in stream.traces.spans for word in against_table(span)]


def test_times_are_the_streams(stream: Stream) -> None:
    """The root lasts from the first row to the last, and each event starts at its own time."""
    root = stream.traces.root
    assert (BEGAN_NS + stream.rows[0]["t"], BEGAN_NS + stream.rows[-1]["t"] + 1) == (
        root.start_time,
        root.end_time,  # 1 ns later than what ends with it
    )
    seen = [t for t, event in stream.events("recv") if not event["type"].endswith(".delta")]
    spans = [span for span in stream.traces.spans if "otel_realtime.event.type" in facts(span)]
    assert [BEGAN_NS + t for t in seen] == [span.start_time for span in spans]
    assert [(t - stream.rows[0]["t"]) // 1_000_000 for t in seen] == [
        facts(span)["otel_realtime.audio_offset_ms"] for span in spans
    ]


def test_tokens_are_the_streams(stream: Stream) -> None:
    """The tokens of the trace are those that the server counted, each once."""
    counted = 0
    for _, event in stream.events("recv"):
        usage = event.get("usage") or (event.get("response") or {}).get("usage") or {}
        counted += usage.get("total_tokens", 0)
    assert counted == stream.conversation["tokens"]


def _sample(t: int) -> int:
    """The sample nearest to a time."""
    return (t * talking.RATE + 500_000_000) // 1_000_000_000


@pytest.mark.parametrize("stream", ["ga_ws_bargein_pcm.jsonl"], indirect=True)
def test_a_barge_in_by_sample_index(stream: Stream) -> None:
    """The agent's channel: the first answer's first 600 ms, silence, the second until the close."""
    _, agent = samples(stream.recording)
    deltas = stream.events("recv", "response.output_audio.delta")
    first, second = dict.fromkeys(event["item_id"] for _, event in deltas)
    ((said_t, truncate),) = stream.events("sent", "conversation.item.truncate")
    # It had been played for so long when the client said so; the next one begins as late.
    first_t = next(t for t, event in deltas if event["item_id"] == first)
    late = said_t - truncate["audio_end_ms"] * 1_000_000 - first_t
    second_t = next(t for t, event in deltas if event["item_id"] == second)
    kept = {
        first: truncate["audio_end_ms"] * talking.PER_MS,
        second: (stream.rows[-1]["t"] - second_t - late) * talking.RATE // 1_000_000_000,
    }
    expected = np.zeros(len(agent), "<i2")
    for item, length in kept.items():
        answer = [(t, event["delta"]) for t, event in deltas if event["item_id"] == item]
        whole = talking.pcm(b"".join(base64.b64decode(audio) for _, audio in answer))
        start = _sample(answer[0][0] + late)
        expected[start : start + length] = whole[:length]
    assert np.array_equal(expected, agent)


@pytest.mark.parametrize("stream", ["ga_ws_bargein_pcm.jsonl"], indirect=True)
def test_the_users_channel_of_a_barge_in(stream: Stream) -> None:
    """The user's channel holds every sample that was sent, in order, just before its send."""
    user, _ = samples(stream.recording)
    sent = stream.events("sent", "input_audio_buffer.append")
    whole = talking.pcm(b"".join(base64.b64decode(event["audio"]) for _, event in sent))
    assert np.array_equal(whole[whole != 0], user[user != 0])
    frame = 100 * talking.PER_MS
    for end in (0, -1):
        place, position = np.flatnonzero(user)[end], np.flatnonzero(whole)[end]
        sent_at = _sample(sent[position // frame][0])
        assert -frame <= sent_at - place <= frame + 50 * talking.PER_MS
