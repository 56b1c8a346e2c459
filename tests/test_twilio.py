"""Twilio media streams: marks say what was played, unless a ``clear`` sent them back."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, cast

import pytest

import otel_realtime
from otel_realtime import Settings, diagnostics
from otel_realtime.twilio import MediaStream, Playing
from tests.support.provoked import provoked
from tests.support.traces import Traces, facts

CHUNK = bytes([0x10]) * 2_000
"""250 ms of mu-law."""


class Call:
    """Takes down what the stream reports."""

    def __init__(self) -> None:
        self.positions: list[tuple[str, int, float]] = []
        self.heard: list[bytes] = []

    def played(self, item_id: str, content_index: int, audio_ms: float) -> None:
        self.positions.append((item_id, content_index, audio_ms))


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A conversation that only listens."""
    monkeypatch.setattr(
        "otel_realtime.twilio.record_user_mulaw", lambda call, audio: call.heard.append(audio)
    )
    return Call()


def echo(name: str) -> str:
    """What Twilio sends when a mark comes back."""
    return json.dumps({"event": "mark", "streamSid": "MZ1", "mark": {"name": name}})


def test_marks_become_positions(call: Any) -> None:
    """Cumulative in their item, in bytes or base64."""
    stream = MediaStream(call)
    first = stream.mark("a", 0, CHUNK)
    second = stream.mark("a", 0, base64.b64encode(CHUNK[:401]).decode())
    third = stream.mark("b", 1, CHUNK)
    assert len({first, second, third}) == 3
    for name in (first, second, third, third, "the app's own mark"):
        stream.received(echo(name))
    assert [("a", 0, 250.0), ("a", 0, 300.125), ("b", 1, 250.0)] == call.positions


def test_marks_that_a_clear_sent_back_were_not_played(call: Any) -> None:
    """Their echo is ignored; what is sent afterwards counts again."""
    stream = MediaStream(call)
    names = [stream.mark("a", 0, CHUNK) for _ in range(4)]
    stream.received(echo(names[0]))
    assert stream.clear() == Playing("a", 0, 250)
    for name in names[1:]:
        stream.received(echo(name))
    later = stream.mark("b", 0, CHUNK)
    stream.received(echo(later))
    assert [("a", 0, 250.0), ("b", 0, 250.0)] == call.positions


def test_a_clear_tells_what_plays() -> None:
    """The item of the first mark under way; nothing when all came back."""
    stream = MediaStream()
    assert stream.clear() is None
    first = stream.mark("a", 0, CHUNK)
    stream.mark("b", 0, CHUNK)
    stream.received(echo(first))
    assert stream.clear() == Playing("b", 0, 0)
    assert stream.clear() is None


def test_the_callers_audio_is_taken_if_wanted(call: Any) -> None:
    """Only the inbound track, and only on request."""
    media = {"event": "media", "media": {"track": "inbound", "payload": "EBAQ"}}
    MediaStream(call).received(media)
    stream = MediaStream(call, record_user=True)
    stream.received(media)
    stream.received({"event": "media", "media": {"track": "outbound", "payload": "EBAQ"}})
    stream.received({"event": "start", "start": {}})
    assert [b"\x10\x10\x10"] == call.heard


def test_a_mark_of_audio_that_cannot_be_read_has_a_name(
    call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app sends it as any other; when it comes back nothing is reported."""
    monkeypatch.setattr(diagnostics, "RAISE", False)
    stream, nothing = MediaStream(call), cast("bytes", None)
    names = [stream.mark("a", 0, nothing), stream.mark("a", 0, CHUNK)]
    for name in names:
        stream.received(echo(name))
    assert (2, [("a", 0, 250.0)]) == (len(set(names)), call.positions)
    provoked("twilio.MediaStream._sent: TypeError")


def test_many_marks_do_not_pile_up(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream whose marks never come back keeps the latest only."""
    monkeypatch.setattr("otel_realtime.twilio.MAX_MARKS", 3)
    stream = MediaStream(call)
    names = [stream.mark("a", 0, CHUNK) for _ in range(5)]
    for name in names:
        stream.received(echo(name))
    assert [750.0, 1_000.0, 1_250.0] == [position for _, _, position in call.positions]


def test_a_call_is_recorded_by_its_marks(traces: Traces, tmp_path: Path) -> None:
    """With a real conversation: heard as far as the marks say, the user's side from Twilio."""
    settings = Settings(recordings_dir=str(tmp_path / "kept"))
    start = 1_700_000_000_000_000_000
    pcmu = {"type": "audio/pcmu"}
    audio = {"input": {"format": pcmu}, "output": {"format": pcmu}}
    with otel_realtime.conversation(tracer_provider=traces.provider, settings=settings) as call:
        stream = MediaStream(call, record_user=True)
        session = {"type": "realtime", "audio": audio}
        call.received({"type": "session.created", "session": session}, at_ns=start)
        call.received({"type": "response.created", "response": {"id": "r"}}, at_ns=start)
        item = {"id": "a", "type": "message", "role": "assistant"}
        added = {"type": "response.output_item.added", "response_id": "r", "item": item}
        call.received(added, at_ns=start)
        names = []
        for _ in range(4):
            delta = base64.b64encode(CHUNK).decode()
            names.append(stream.mark("a", 0, delta))
            message = {"type": "response.output_audio.delta", "response_id": "r", "item_id": "a"}
            call.received({**message, "content_index": 0, "delta": delta}, at_ns=start + 10**8)
        done = {"id": "r", "status": "completed", "output": [item]}
        call.received({"type": "response.done", "response": done}, at_ns=start + 2 * 10**8)
        speech = {"type": "input_audio_buffer.speech_started", "item_id": "u"}
        call.received({**speech, "audio_start_ms": 0}, at_ns=start + 65 * 10**7)
        stream.received(echo(names[0]))
        stream.clear()
        for name in names[1:]:
            stream.received(echo(name))
        stream.received({"event": "media", "media": {"payload": "EBAQ"}})
    (chat,) = [facts(span) for span in traces.spans if span.name.startswith("chat")]
    assert "tap" == chat["otel_realtime.heard_source"]
    assert 250 <= chat["otel_realtime.heard_ms"] <= 500
