"""Audio frames of the wire."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.recording import frames as module
from otel_realtime.recording.frames import AudioFrame, parse_append, parse_appends, parse_delta
from tests.support.calls import append_frame, delta_frame


@pytest.fixture(params=["with the extra", "without it"], autouse=True)
def _decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame says the same, whether ``pybase64`` is installed or not."""
    if request.param == "without it":
        monkeypatch.setattr(module, "_strict", None)
    else:
        assert module._strict is not None


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


def test_a_delta_without_sound_is_no_fault() -> None:
    """Wherever in the frame it stands."""
    for frame in ('{"item_id":"i","delta":""}', '{"delta":"","item_id":"i"}'):
        assert AudioFrame(b"", "i", 0, None) == parse_delta(frame)


def test_odd_fields_of_a_delta_have_defaults() -> None:
    """Audio without an item belongs to nobody; the rest can be missing."""
    assert parse_delta(json.dumps({"delta": "AAAA"})) is None
    odd = {"delta": "AAAA", "item_id": "i", "content_index": "0", "response_id": 7}
    assert parse_delta(json.dumps(odd)) == AudioFrame(b"\x00\x00\x00", "i", 0, None)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" , ", " : ")])
@pytest.mark.parametrize("audio_last", [True, False])
@pytest.mark.parametrize("as_bytes", [True, False])
@pytest.mark.parametrize("event_id", ["event_1", 'a",\\"audio\\":\\"QUJD', "é"])
def test_every_way_to_write_a_frame_says_the_same(
    separators: tuple[str, str], audio_last: bool, as_bytes: bool, event_id: str
) -> None:
    """Frames of the usual shape are cut, others are parsed."""

    def written(key: str, **fields: object) -> str | bytes:
        event = {"event_id": event_id, **fields, key: "AQID"}
        if not audio_last:
            event = dict(reversed(event.items()))
        text = json.dumps({"type": "x", **event}, separators=separators, ensure_ascii=False)
        return text.encode() if as_bytes else text

    assert AudioFrame(b"\x01\x02\x03") == parse_append(written("audio"))
    expected = AudioFrame(b"\x01\x02\x03", "i", 1, "r")
    found = parse_delta(written("delta", item_id="i", content_index=1, response_id="r"))
    assert expected == found


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"x","audio":"\\u0041QID"}',  # an escape, as .NET writes "+"
        '{"type":"x","audio":"AAAA","audio":"AQID"}',  # the last one counts
        '{"type":"x","inner":{"type":"y","audio":"AAAA"},"audio":"AQID"}',
    ],
)
def test_a_frame_of_an_odd_shape_is_parsed(frame: str) -> None:
    """What a JSON parser says holds."""
    assert AudioFrame(b"\x01\x02\x03") == parse_append(frame)
    assert AudioFrame(b"\x01\x02\x03") == parse_append(frame.encode())


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"x","inner":{"a":1,"audio":"AQID"}}',
        '{"type":"x","audio":"AQID"',
        '{"audio":"AQID"',
    ],
)
def test_what_only_looks_like_audio_is_none(frame: str) -> None:
    """An object within, and a frame that is cut off."""
    assert parse_append(frame) is None


_PAYLOADS = [
    "",
    "AQID",
    "AQIDBAUG",
    "AQI=",
    "AQ==",
    "AQID\\nAQID",
    "AQID=AQI",
    "A",
    "AQ?D",
    "\\u0041QID",
    'AQID","x":"y',
    "é",
]


@given(
    st.lists(
        st.tuples(st.sampled_from(_PAYLOADS), st.booleans(), st.booleans()), min_size=1, max_size=6
    )
)
@pytest.mark.parametrize("decoder", [module._strict, None])
def test_frames_at_once_say_what_they_say_one_by_one(
    decoder: object, frames: list[tuple[str, bool, bool]]
) -> None:
    """Padded, broken and odd ones among them."""
    written: list[str | bytes] = []
    for payload, spaced, as_bytes in frames:
        space = " " if spaced else ""
        text = f'{{"type":{space}"input_audio_buffer.append",{space}"audio":{space}"{payload}"}}'
        written.append(text.encode() if as_bytes else text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_strict", decoder)
        assert parse_appends(written) == [parse_append(frame) for frame in written]


def test_frames_of_a_microphone_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are of one shape: no frame is looked at by itself."""
    monkeypatch.setattr(module, "parse_append", None)
    frames: list[str | bytes] = [append_frame(bytes([n, 0, 0])) for n in range(50)]
    assert parse_appends(frames) == [AudioFrame(bytes([n, 0, 0])) for n in range(50)]
