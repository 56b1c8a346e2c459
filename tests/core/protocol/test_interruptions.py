"""Why an answer was cut, and whether anybody had said anything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.interruptions import (
    CLIENT,
    NEAR_NS,
    SERVER,
    VAD,
    Interruption,
    Speeches,
    explain,
    is_known,
    says_nothing,
)
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.session import SessionFacts
from tests.support.streams import bounded


def session(**turn_detection: Any) -> SessionFacts:
    """A session with server VAD: 300 ms of padding, 500 ms of silence, unless it says otherwise."""
    vad = {"type": "server_vad", "prefix_padding_ms": 300, "silence_duration_ms": 500}
    audio = {"input": {"turn_detection": {**vad, **turn_detection}}}
    return SessionFacts({"audio": audio})


def heard(text: str | None = None, ms: int | None = None) -> Item:
    """The user's item with that transcript and length, as the VAD counts it."""
    item = Item("u", role="user", audio=True)
    if text is not None:
        item.set_part(0, text)
        item.transcribed.add(0)
    if ms is not None:
        item.audio_start_ms, item.audio_end_ms, item.stopped_t = 0, ms, 1
    return item


@pytest.mark.parametrize(
    ("item", "nothing"),
    [
        (heard("Stop."), False),
        (heard("Stop.", 1100), False),
        (heard("uh", 900), True),  # 100 ms of voice: a transcript makes words of any noise
        (heard("Stop please.", 1000), False),  # several words are none of a noise
        (heard("Oui, d'accord", 900), False),
        (heard("停一下", 900), False),
        (heard("...", 5000), True),
        (heard(""), True),
        (heard(" \n"), True),
        (heard("", 5000), True),
        (heard(ms=1000), True),  # 200 ms of voice
        (heard(ms=1100), False),  # 300 ms
        (heard(), False),  # nothing is known
    ],
)
def test_what_says_nothing(item: Item, nothing: bool) -> None:
    """An empty transcript, or speech too short."""
    assert nothing is says_nothing(item, session(), 250)


def test_a_failed_transcription_says_nothing_of_what_was_said() -> None:
    """Its length decides."""
    item = heard(ms=3000)
    item.transcribed.add(0)
    assert not says_nothing(item, session(), 250)


@pytest.mark.parametrize(
    ("speech", "source", "facts", "expected"),
    [
        (heard("Stop."), "estimated", session(), Interruption(VAD, False)),
        (heard(""), "client_truncate", session(), Interruption(VAD, True)),
        (heard(""), "server", session(), Interruption(VAD, True)),
        (
            heard(""),
            "client_truncate",
            session(interrupt_response=False),
            Interruption(CLIENT, True),
        ),
        (heard("Stop."), "tap", SessionFacts({"id": "s"}), Interruption(CLIENT, False)),
        (heard("Stop."), "estimated", SessionFacts(), Interruption(VAD, False)),
        (None, "client_truncate", session(), Interruption(CLIENT, False)),
        (None, "server", session(), Interruption(SERVER, False)),
    ],
)
def test_the_cause(
    speech: Item | None, source: str, facts: SessionFacts, expected: Interruption
) -> None:
    """The VAD if it heard a voice and may interrupt, else whoever says that the answer was cut."""
    assert expected == explain(speech, source, None, facts, 250)
    cancelled = explain(speech, source, "turn_detected", facts, 250)
    assert Interruption(VAD, expected.false) == cancelled


def test_the_speech_next_to_a_cut() -> None:
    """The closest one, within a second."""
    speeches, early, late = Speeches(), Item("early"), Item("late")
    speeches.began(1_000, early)
    speeches.began(2_000, late)
    assert [early, early, late, late] == [speeches.near(t) for t in (0, 1_400, 1_600, 9_000)]
    assert None is speeches.near(2_001 + NEAR_NS)
    assert None is Speeches().near(0)
    bounds = [(0, 999), (0, 1_000), (1_000, 1_999), (1_999, 2_000), (2_000, 9_000)]
    assert [False, True, False, True, False] == [speeches.any_between(*each) for each in bounds]


@bounded
@given(st.lists(st.integers(0, 10 * NEAR_NS)), st.integers(0, 10 * NEAR_NS))
def test_nothing_closer_is_overlooked(starts: list[int], t: int) -> None:
    """Against all of them."""
    speeches = Speeches()
    for start in sorted(starts):
        speeches.began(start, Item(str(start)))
    found = speeches.near(t)
    distance = min((abs(start - t) for start in starts), default=NEAR_NS + 1)
    assert (distance <= NEAR_NS) is (found is not None)
    assert found is None or abs(int(found.id) - t) == distance


def test_when_it_is_known() -> None:
    """With its transcript, if there will be one, else with its end."""
    transcribes = session()
    transcribes.config["audio"]["input"]["transcription"] = {"model": "whisper-1"}
    assert [False, True] == [is_known(item, transcribes) for item in (heard(ms=9), heard("a"))]
    assert [False, True] == [is_known(item, session()) for item in (heard(), heard(ms=9))]
