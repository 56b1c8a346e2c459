"""When the agent sounds, roughly."""

from __future__ import annotations

from otel_realtime.core.audio.room import Room

MS = 1_000_000


def test_chunks_play_one_after_another_until_a_cut() -> None:
    """A burst is one stretch; what follows a silence is another."""
    room = Room()
    assert [True, False, True] == [
        room.add(1_000 * MS, 500 * MS),
        room.add(1_050 * MS, 1_500 * MS),
        room.add(5_000 * MS, 500 * MS),
    ]
    assert [0, 3_000, 3_000, 5_500] == [room.caused(t * MS) // MS for t in (0, 1_000, 4_999, 5_000)]
    assert [1_000, 5_000] == [(room.answered(t * MS) or 0) // MS for t in (0, 1_000)]
    assert room.answered(5_000 * MS) is None
    room.cut(5_200 * MS)
    assert 5_200 * MS == room.caused(9_000 * MS)


def test_a_file_has_its_place_between_cause_and_answer() -> None:
    """From its send on, earlier if the answer comes, never before the cause has been heard."""
    room = Room()
    room.add(0, 2_000 * MS)
    assert 3_000 * MS == room.start(3_000 * MS, 5_000 * MS)
    room.add(6_000 * MS, 1_000 * MS)
    assert [3_000, 2_500, 2_000] == [
        room.start(3_000 * MS, ms * MS) // MS for ms in (2_000, 3_500, 9_000)
    ]
    assert [True, False, True] == [
        room.is_taken(start * MS, end * MS)
        for start, end in ((1_000, 4_000), (2_000, 6_000), (4_000, 6_500))
    ]


def test_a_tap_knows_better_than_the_wire() -> None:
    """What it reports is played as it comes; chunks count no more."""
    room = Room()
    room.add(0, 20 * MS, tap=True)
    room.add(20 * MS, 20 * MS, tap=True)
    assert not room.add(1_000 * MS, 500 * MS)
    assert 40 * MS == room.caused(9_000 * MS)


def test_the_past_is_bounded() -> None:
    """A call of days does not grow."""
    room = Room()
    for number in range(1_000):
        room.add(number * 1_000 * MS, 100 * MS)
    assert 256 == len(room._starts)
    assert 999_100 * MS == room.caused(2_000_000 * MS)
