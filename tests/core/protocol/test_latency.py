"""How a response sounded, and how long the caller waited for it."""

from __future__ import annotations

import pytest

from otel_realtime.core.audio.parts import ItemAudio
from otel_realtime.core.protocol import latency
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.latency import ResponseAudio, response_audio, speech_end
from tests.support.streams import CALL, MS, Row, Sounds, feed, received, sound

VAD: Row = received(
    "session.updated",
    session={"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}},
)


def facts(audio: Sounds | None, inputs: list[str], before: tuple[str, ...] = ()) -> ResponseAudio:
    """The sound of the answer in the handmade call, created 170 ms after the start.

    Args:
        audio: what sounded.
        inputs: items that the answer reads.
        before: items that the response before it read, which only called tools.
    """
    state, _ = feed([*CALL, VAD])
    response = state.responses["resp_2"]
    response.inputs = inputs
    state.responses["resp_1"].inputs = list(before)
    return response_audio(response, state, audio)


def test_a_silent_response_has_no_sound() -> None:
    """Without audio facts and without audio all is None."""
    assert ResponseAudio() == facts(None, ["item_1"])
    assert ResponseAudio() == facts(Sounds(), ["item_1"])


def test_a_spoken_response() -> None:
    """Speech ended at 900 - 200 ms; the first chunk came at 450, the first sound at 1500."""
    audio = Sounds(sound("item_5", 1500, 800, first_chunk_t=450 * MS))
    found = facts(audio, ["item_1"])
    assert 800 == sum(part.ms for part in found.parts)
    assert (
        ResponseAudio(
            generated_ms=800,
            heard_ms=800,
            heard_source="estimated",
            interrupted=False,
            first_audio_ms=280,
            voice_to_voice_ms=800,
            parts=found.parts,
        )
        == found
    )


def test_several_sounds_add_up_to_the_weakest_evidence() -> None:
    """One interrupted item makes an interrupted response."""
    state, _ = feed(CALL)
    response = state.responses["resp_2"]
    response.outputs = ["a", "b"]
    audio = Sounds(
        sound("a", 400, 300, heard_source="tap"),
        sound("b", 700, 100, generated_ms=900, heard_source="client_truncate", interrupted=True),
    )
    found = response_audio(response, state, audio)
    assert (1200, 400, True) == (found.generated_ms, found.heard_ms, found.interrupted)
    assert "client_truncate" == found.heard_source


def test_there_is_no_wait_where_nobody_spoke_or_nothing_was_heard() -> None:
    """A typed question, an answer that was never audible."""
    assert facts(Sounds(sound("item_5", 1500, 800)), []).voice_to_voice_ms is None
    assert facts(Sounds(sound("item_5", None, 0)), ["item_1"]).voice_to_voice_ms is None


def test_the_wait_goes_through_tool_calls() -> None:
    """The caller asked, a response called tools, the next one answered: one wait."""
    audio = Sounds(sound("item_5", 1500, 800))
    assert 800 == facts(audio, ["item_4"], before=("item_1",)).voice_to_voice_ms


def test_a_wait_ends_with_the_first_sound() -> None:
    """A response that said something before it called a tool has answered already."""
    audio = Sounds(sound("item_2", 1200, 100), sound("item_5", 1500, 800))
    assert facts(audio, ["item_4"], before=("item_1",)).voice_to_voice_ms is None


def test_nobody_waits_for_what_the_server_says_by_itself() -> None:
    """Because nobody spoke; nor for what is said beside the conversation."""
    audio = Sounds(sound("item_5", 1500, 800))
    idle = received("input_audio_buffer.timeout_triggered", item_id="item_9", audio_start_ms=0)
    state, _ = feed([*CALL, VAD, idle])
    response = state.responses["resp_2"]
    response.inputs = ["item_9"]
    assert response_audio(response, state, audio).voice_to_voice_ms is None
    response.inputs, response.out_of_band = ["item_1"], True
    assert response_audio(response, state, audio).voice_to_voice_ms is None


def test_speech_that_is_referred_to_is_waited_for() -> None:
    """The request has an input of its own, with the user's item in it."""
    state, _ = feed([*CALL, VAD])
    response = state.responses["resp_2"]
    response.inputs = []
    response.request = {"input": [{"type": "item_reference", "id": "item_1"}]}
    found = response_audio(response, state, Sounds(sound("item_5", 1500, 800)))
    assert 800 == found.voice_to_voice_ms


def test_a_sideband_knows_when_its_caller_stopped() -> None:
    """No audio goes over it: the VAD reports the end of speech after its silence."""
    item = Item("a", audio_end_ms=900, stopped_t=950 * MS)
    assert 750 * MS == speech_end(item, 200, Sounds(offset_ms=None))


def test_a_wait_is_never_negative() -> None:
    """An answer that began before the silence was over."""
    audio = Sounds(sound("item_5", 100, 800))
    found = facts(audio, ["item_1"])
    assert (0, 0) == (found.first_audio_ms, found.voice_to_voice_ms)


@pytest.mark.parametrize(
    ("silence_ms", "audio", "expected"),
    [
        (200, Sounds(loud_ms=600), 700),
        (2000, Sounds(loud_ms=600), 0),
        (None, Sounds(loud_ms=600), 600),
        (200, Sounds(offset_ms=None, loud_ms=600), 600),
        (None, Sounds(), None),
    ],
)
def test_when_speech_ended(silence_ms: int | None, audio: Sounds, expected: int | None) -> None:
    """By the VAD without its silence, else by the last loud moment."""
    item = Item("a", audio_end_ms=900, stopped_t=950 * MS)
    assert (None if expected is None else expected * MS) == speech_end(item, silence_ms, audio)


def test_speech_that_never_stopped_has_no_end() -> None:
    """No commit and no VAD."""
    assert speech_end(Item("a"), 200, Sounds(loud_ms=5)) is None


@pytest.mark.parametrize(
    ("first", "second", "counts"),
    [
        (sound("item_4", 200, 500, interrupted=True), None, False),
        (sound("item_4", 200, 500), None, True),  # the barge-in came after it
        (sound("item_4", 0, 20, interrupted=True), None, True),  # cut before this one was made
        (sound("item_4", 200, 500, interrupted=True), 800, True),  # heard, and cut in turn
        (sound("item_4", None, 0, interrupted=True), None, True),  # nothing was heard before
    ],
)
def test_one_barge_in_over_two_responses_is_one(
    monkeypatch: pytest.MonkeyPatch, first: ItemAudio, second: int | None, counts: bool
) -> None:
    """What waited behind the one that was cut, and was never heard, is no interruption of its own."""
    monkeypatch.setattr(latency, "SAME_CUT_NS", 0)
    state, _ = feed(CALL)
    state.responses["resp_1"].outputs.append("item_4")
    response = state.responses["resp_2"]
    cut = sound("item_5", second, 0, generated_ms=900, interrupted=True)
    found = response_audio(response, state, Sounds(first, cut))
    assert (True, counts) == (found.interrupted, found.interruption is not None)
