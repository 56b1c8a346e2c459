"""The energy detector on the clock of the appended audio."""

from __future__ import annotations

import pytest

from otel_realtime.demo.speech import script, silence, tone, utterance
from otel_realtime.demo.vad import Detector, SpeechStarted, SpeechStopped

SPOKEN = silence(1.0) + tone(300, 0.5) + silence(1.0)
FOUND = [SpeechStarted(700), SpeechStopped(2000)]


@pytest.mark.parametrize("chunk", [33, 480, 1920, 4800, len(SPOKEN)])
def test_the_size_of_the_chunks_does_not_matter(chunk: int) -> None:
    """Any cut of the audio, odd bytes included, gives the same positions."""
    detector = Detector(silence_duration_ms=500)
    pieces = [SPOKEN[start : start + chunk] for start in range(0, len(SPOKEN), chunk)]
    assert [event for piece in pieces for event in detector.feed(piece)] == FOUND


def test_the_prefix_does_not_reach_before_the_session() -> None:
    """Speech at the very start begins at 0."""
    assert [SpeechStarted(0)] == Detector().feed(tone(300, 0.1))


def test_a_click_is_no_speech() -> None:
    """Less than 40 ms of sound starts nothing."""
    assert Detector().feed(silence(0.5) + tone(300, 0.03) + silence(1.0)) == []


def test_a_pause_shorter_than_the_silence_is_part_of_the_speech() -> None:
    """Only ``silence_duration_ms`` of silence ends a turn."""
    audio = tone(300, 0.3) + silence(0.4) + tone(300, 0.3) + silence(0.6)
    assert [SpeechStarted(0), SpeechStopped(1500)] == Detector(silence_duration_ms=500).feed(audio)


def test_the_count_goes_on_from_what_was_appended_before() -> None:
    """A detector that starts in mid-session counts in the session."""
    detector = Detector(prefix_padding_ms=0, appended_ms=5000)
    assert [SpeechStarted(5100)] == detector.feed(silence(0.1) + tone(300, 0.1))


@pytest.mark.parametrize("name", [name for name in script() if name.startswith("user_")])
def test_each_of_the_users_lines_is_one_turn(name: str) -> None:
    """No pause inside a line is long enough to end it, even with the short script's settings."""
    found = Detector(silence_duration_ms=300).feed(utterance(name).pcm + silence(0.5))
    assert [SpeechStarted, SpeechStopped] == [type(event) for event in found]
