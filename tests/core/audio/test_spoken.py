"""Where a user's item lies in the recording: by the VAD, by a commit, or by its neighbours."""

from __future__ import annotations

import pytest

from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.core.audio.segments import Interval
from otel_realtime.core.audio.session_clock import SPREAD_NS, SessionClock
from otel_realtime.core.audio.spoken import SpokenItems
from otel_realtime.core.audio.user_side import UserPlacement

S = NS_PER_S
SECOND = 48_000  # bytes of one


class Items:
    """Items of a user who begins to speak one second after the start, in real time."""

    def __init__(self) -> None:
        self.user = UserPlacement()
        self.items = SpokenItems(self.user, SessionClock())
        self._spoken = 0

    def speak(self, seconds: int) -> None:
        """Append so much more."""
        for _ in range(seconds):
            self._spoken += 1
            self.user.append((1 + self._spoken) * S, (self._spoken - 1) * SECOND, SECOND)

    def at(self, item: str, from_ms: int | None = None, to_ms: int | None = None) -> Interval:
        """Where it lies, in s since the first word."""
        place = self.items.place(item, from_ms, to_ms, 99 * S)
        assert place is not None
        return place[0] / S - 1, place[1] / S - 1  # type: ignore[return-value]


@pytest.fixture
def told() -> Items:
    """Nine seconds have been spoken."""
    items = Items()
    items.speak(9)
    return items


def test_the_vad_says_where(told: Items) -> None:
    """From the first start to the last stop."""
    told.items.started("u", 9 * S, 2_000)
    told.items.started("u", 9 * S, 3_000)
    assert (2, 9) == told.at("u")  # it goes on
    told.items.stopped("u", 9 * S, 4_000)
    told.items.named("u", 9 * S, whole=True)
    assert (2, 4) == told.at("u")


def test_a_part_counts_from_its_beginning(told: Items) -> None:
    """Milliseconds of the item's audio, either end open."""
    told.items.started("u", 9 * S, 2_000)
    told.items.stopped("u", 9 * S, 4_000)
    assert (2.5, 3) == told.at("u", 500, 1_000)
    assert (2.5, 4) == told.at("u", 500)
    assert (2, 3) == told.at("u", None, 1_000)
    assert (3, 3) == told.at("u", 1_000, 500)  # nonsense is empty


def test_a_commit_says_where(told: Items) -> None:
    """Unless the VAD knows better where it begins."""
    told.items.committed("u1", (0, 3 * S))
    told.items.started("u2", 9 * S, 4_000)
    told.items.committed("u2", (3 * S, 5 * S))
    assert [(0, 3), (4, 5)] == [told.at("u1"), told.at("u2")]


def test_without_a_beginning_it_begins_where_the_one_before_ends() -> None:
    """A server that only commits."""
    told = Items()
    for item in ("u1", "u2"):
        told.speak(3)
        told.items.named(item, 0, whole=True)
    told.speak(3)
    told.items.named("u2", 0, whole=True)
    assert [(0, 3), (3, 6)] == [told.at("u1"), told.at("u2")]


def test_an_item_that_goes_on_ends_with_what_was_appended() -> None:
    """Its text has begun, its end is not known."""
    told = Items()
    told.speak(3)
    told.items.named("u1", 0, whole=True)
    told.items.named("u2", 0, whole=False)
    told.speak(3)
    assert (3, 6) == told.at("u2")
    told.items.named("u2", 0, whole=True)
    told.speak(3)
    assert (3, 6) == told.at("u2")


def test_without_appended_audio_the_events_say_when() -> None:
    """They may be late by what the session's clock allows."""
    clock = SessionClock()
    items = SpokenItems(UserPlacement(), clock)
    clock.add(4 * S, 4_000)
    items.started("u", 4 * S, 3_000)
    items.stopped("u", 4 * S, 4_000)
    items.named("v", 7 * S, whole=True)
    assert (3 * S - SPREAD_NS, 4 * S) == items.place("u", None, None, 99 * S)
    assert (4 * S - SPREAD_NS, 7 * S) == items.place("v", None, None, 99 * S)


def test_what_nobody_named_is_nowhere(told: Items) -> None:
    """No item, no place."""
    assert told.items.place("u", None, None, S) is None
