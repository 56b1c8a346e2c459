"""Audio frames of the wire."""

from __future__ import annotations

import json

import pytest

from otel_realtime.recording.frames import AudioFrame, parse_append, parse_delta
from tests.support.calls import append_frame, delta_frame


def test_frames_give_their_audio() -> None:
    """Text or bytes, client or server."""
    assert parse_append(append_frame(b"\x01\x02\x03")) == AudioFrame(b"\x01\x02\x03")
    expected = AudioFrame(b"\x01\x02", "item_9", 1, "resp_9")
    assert parse_delta(delta_frame(b"\x01\x02", "item_9", "resp_9", 1)) == expected
    assert parse_delta(delta_frame(b"\x01\x02", "item_9", "resp_9", 1).encode()) == expected


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "nonsense",
        b"\xff\xfe",
        "[1]",
        "{}",
        "[" * 200_000,
        json.dumps({"audio": 5, "delta": 5}),
        json.dumps({"audio": "x", "delta": "x", "item_id": "i"}),
        json.dumps({"audio": "é", "delta": "é", "item_id": "i"}),
    ],
)
def test_a_frame_that_cannot_be_read_gives_none(frame: str | bytes) -> None:
    """Whatever comes instead of audio."""
    assert parse_append(frame) is None
    assert parse_delta(frame) is None


def test_odd_fields_of_a_delta_have_defaults() -> None:
    """Audio without an item belongs to nobody; the rest can be missing."""
    assert parse_delta(json.dumps({"delta": "AAAA"})) is None
    odd = {"delta": "AAAA", "item_id": "i", "content_index": "0", "response_id": 7}
    assert parse_delta(json.dumps(odd)) == AudioFrame(b"\x00\x00\x00", "i", 0, None)
