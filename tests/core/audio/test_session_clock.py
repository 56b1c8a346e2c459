"""The server's audio times without the audio; times are in ms."""

from __future__ import annotations

from otel_realtime.core.audio.session_clock import SessionClock

MS = 1_000_000


def clock(*bounds: tuple[int, int]) -> SessionClock:
    """A clock that has seen events, each with its arrival and its position."""
    found = SessionClock()
    for t, audio_ms in bounds:
        found.add(t * MS, audio_ms)
    return found


def test_nothing_is_known_before_an_event() -> None:
    """Neither at the beginning nor in a new session."""
    assert clock().time(1_000) is None
    found = clock((2_400, 2_100))
    found.reset()
    assert found.time(1_000) is None


def test_the_closest_event_bounds_both_ends() -> None:
    """``speech_started`` comes 340 ms after its position, ``speech_stopped`` 44 ms: as recorded."""
    found = clock((5_340, 2_000), (6_544, 3_500))
    assert (5_044 * MS, 6_544 * MS) == (found.time(2_000), found.time(3_500))
    assert 6_344 * MS == found.time(3_300)


def test_audio_that_stood_still_is_not_bridged() -> None:
    """A call on hold: the earlier bound does not hold any more."""
    found = clock((1_000, 700), (61_000, 2_000))
    assert (1_000 * MS, 61_000 * MS) == (found.time(700), found.time(2_000))


def test_events_that_are_reported_faster_than_spoken_keep_their_own_times() -> None:
    """A recorded stream without times, fed in even steps."""
    found = clock((480, 6_688), (500, 7_712), (1_060, 11_904), (1_080, 12_256))
    assert (480 * MS, 500 * MS) == (found.time(6_688), found.time(7_712))


def test_positions_beside_all_events_are_mapped_too() -> None:
    """By the first or the last of them; never before the start."""
    found = clock((2_400, 2_100), (30_200, 30_000))
    assert (0, 1_300 * MS, 60_200 * MS) == (
        clock((100, 900)).time(10),
        found.time(1_000),
        found.time(60_000),
    )
