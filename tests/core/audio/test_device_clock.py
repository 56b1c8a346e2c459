"""Blocks that a device asks for late, early and at once, against where it plays them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.device_clock import (
    BUFFER_NS,
    PROOF,
    UNPROVEN_NS,
    DeviceClock,
)
from otel_realtime.core.audio.formats import NS_PER_S, AudioFormat
from otel_realtime.core.audio.segments import Segment
from otel_realtime.core.audio.user_side import JITTER_NS, LOOK_AHEAD_NS

MS = 1_000_000
BLOCK = 20
PER_MS = 48  # bytes

#: When a block is given, its length in ms, and whether it is silent.
Block = tuple[float, int, bool]
#: What is added to the time at which a block of that number is due, in ms.
Late = Callable[[int], float]


def blocks(
    start: float, count: int, late: Late = lambda _: 0, *, ppm: float = 0, zeros: bool = False
) -> Iterator[Block]:
    """Blocks of 20 ms of a device whose clock is off."""
    for number in range(count):
        yield start + number * BLOCK * (1 + ppm / 1e6) + late(number), BLOCK, zeros


def run(given_blocks: Iterable[Block], clock: DeviceClock | None = None) -> DeviceClock:
    """Give blocks; no record is before the one before it."""
    clock = clock or DeviceClock()
    last, offset = 0, 0
    for at, ms, zeros in given_blocks:
        last = max(last, round(at * MS))
        clock.add(last, offset, ms * PER_MS, zeros=zeros)
        offset += 0 if zeros else ms * PER_MS
    return clock


def heard(clock: DeviceClock) -> list[tuple[float, float]]:
    """Stretches of sound, in ms."""
    found: list[list[float]] = []
    for segment in clock.segments:
        if found and segment.start_ns - round(found[-1][1] * MS) < 1_000:
            found[-1][1] = segment.end_ns / MS
        else:
            found.append([segment.start_ns / MS, segment.end_ns / MS])
    return [(start, end) for start, end in found]


LATE_CALLS = [
    *((late, number) for late in (25, 40, 55, 90) for number in (1, 2, 30, 97, 98, 99)),
    (190, 30),
]


@pytest.mark.parametrize(("late", "number"), LATE_CALLS)
def test_one_late_call_is_no_gap(late: int, number: int) -> None:
    """The device plays on from its buffer, also where nothing follows to show it."""
    given_blocks = blocks(1_000, 100, lambda each: late if each == number else 0)
    assert [(1_000, 3_000)] == heard(run(given_blocks))


@pytest.mark.parametrize("size", [2, 3, 5, 10])
def test_blocks_that_come_together_start_with_the_first(size: int) -> None:
    """A device that asks for several at once plays them one after the other."""
    given_blocks = blocks(1_000, 100, lambda number: -(number % size) * BLOCK)
    assert [(1_000, 3_000)] == heard(run(given_blocks))


def test_a_buffer_that_is_filled_first_is_played_from_then_on() -> None:
    """The first block is heard when it is given, and nothing has a gap."""
    given_blocks = blocks(1_000, 100, lambda number: -min(number, 4) * BLOCK)
    assert [(1_000, 3_000)] == heard(run(given_blocks))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("idles", [False, True])
def test_jitter_makes_no_gap_in_ten_minutes(seed: int, idles: bool) -> None:
    """And the start is no more off than a block may be."""
    dice = random.Random(seed)
    clock = DeviceClock()
    if idles:
        run(blocks(0, 50, lambda _: dice.uniform(-30, 30), zeros=True), clock)
    run(blocks(1_000, 30_000, lambda _: dice.uniform(-30, 30)), clock)
    ((start, end),) = heard(clock)
    assert abs(start - 1_000) <= 31
    assert abs(end - start - 600_000) < 1


def test_an_early_first_call_waits_for_the_clock() -> None:
    """It is heard when the device would have asked for it."""
    given_blocks = blocks(1_000, 100, lambda number: -25 if number == 0 else 0)
    assert [(1_000, 3_000)] == heard(run(given_blocks))


@pytest.mark.parametrize("ms", [20, 60, 150, 400, 5_000])
@pytest.mark.parametrize("number", [50, 96])
def test_a_device_that_ran_dry_is_a_gap(ms: float, number: int) -> None:
    """All that comes later is later by it."""
    given_blocks = blocks(1_000, 100, lambda each: ms if each >= number else 0)
    dry = 1_000 + number * BLOCK
    assert [(1_000, dry), (dry + ms, 3_000 + ms)] == heard(run(given_blocks))


def test_a_stall_that_no_buffer_outlasts_is_a_gap_although_all_comes_at_once() -> None:
    """The device was dry; what came together is played one after the other."""
    given_blocks = blocks(1_000, 100, lambda number: 400 if number == 50 else 0)
    assert [(1_000, 2_000), (2_400, 3_400)] == heard(run(given_blocks))


def test_a_stop_that_little_follows_is_a_gap() -> None:
    """Blocks of 200 ms: too few calls to tell, but too late for most buffers."""
    given_blocks = [(1_000, 200, False), (1_200, 200, False), (1_500, 200, False)]
    assert [(1_000, 1_400), (1_500, 1_700)] == heard(run(given_blocks))


def test_a_second_stop_is_measured_from_the_first() -> None:
    """Two that a buffer absorbs are not one that it does not."""
    late = lambda number: 150 * (number >= 20) + 90 * (number == 50)  # noqa: E731
    assert [(1_000, 1_400), (1_550, 3_150)] == heard(run(blocks(1_000, 100, late)))


def test_an_answer_after_a_pause_starts_when_it_is_given() -> None:
    """Nothing of the one before shifts it."""
    first = blocks(1_000, 100, lambda number: 55 if number == 99 else 0)
    second = blocks(3_700, 100, lambda number: 55 if number == 10 else 0)
    assert [(1_000, 3_000), (3_700, 5_700)] == heard(run([*first, *second]))


def test_an_answer_after_zeros_starts_on_the_clock() -> None:
    """A first block that is late is no late answer."""
    idle = blocks(0, 200, lambda number: 40 if number == 100 else 0, zeros=True)
    answer = blocks(4_000, 100, lambda number: 45 if number == 0 else 0)
    assert [(4_000, 6_000)] == heard(run([*idle, *answer]))


def test_zeros_within_an_answer_take_their_time() -> None:
    """However late the call is that ends them."""
    first, inner = blocks(1_000, 50), blocks(2_000, 5, zeros=True)
    rest = blocks(2_100, 50, lambda number: 55 if number == 0 else 0)
    assert [(1_000, 2_000), (2_100, 3_100)] == heard(run([*first, *inner, *rest]))


@pytest.mark.parametrize("ppm", [-300, -200, 200, 300])
def test_a_clock_that_is_off_does_not_drift_in_an_hour(ppm: float) -> None:
    """Answers of ten seconds with zeros between them: each starts within 10 ms of its time."""
    clock, scale = DeviceClock(), 1 + ppm / 1e6
    for at in range(0, 3_600_000, 20_000):
        run(blocks(at * scale, 500, ppm=ppm, zeros=True), clock)
        run(blocks((at + 10_000) * scale, 500, ppm=ppm), clock)
    starts = [start for start, _ in heard(clock)]
    due = [(at + 10_000) * scale for at in range(0, 3_600_000, 20_000)]
    assert len(due) == len(starts)
    assert all(abs(start - time) <= 10 for start, time in zip(starts, due, strict=True))
    assert clock.ahead_ns < NS_PER_S / 10


def test_memory_is_that_of_the_look_ahead() -> None:
    """Whatever the length, and if all comes at one time."""
    clock = run(blocks(0, 20_000))
    assert len(clock._pending) <= LOOK_AHEAD_NS // (BLOCK * MS) + 1
    clock = run((1_000, BLOCK, False) for _ in range(20_000))
    assert len(clock._pending) <= 2 * LOOK_AHEAD_NS // (BLOCK * MS) + 1
    assert 1 == len(clock.segments)


_BLOCKS = st.lists(
    st.tuples(
        st.one_of(st.integers(-60, 60), st.sampled_from([0, 150, 250, 400, 3_000])),
        st.sampled_from([1, 10, 20, 20, 20, 60, 200]),
        st.booleans(),
        st.integers(1, 20),
    ),
    min_size=1,
    max_size=60,
)


def _schedule(drawn: list[tuple[int, int, bool, int]]) -> list[Block]:
    """Runs of equal blocks; each block is late by itself, what comes after a long one with it."""
    found: list[Block] = []
    at = 1_000.0
    for late, ms, zeros, count in drawn:
        at += late if late >= 150 else 0
        for number in range(count):
            found.append((max(at + (late if late < 150 and number == 0 else 0), 0), ms, zeros))
            at += ms
    return found


@given(_BLOCKS)
def test_nothing_is_lost_repeated_or_out_of_order(drawn: list[tuple[int, int, bool, int]]) -> None:
    """What is asked while it goes on changes nothing."""
    given_blocks = _schedule(drawn)
    clock = run(given_blocks)
    offset, end = 0, 0
    for segment in clock.segments:
        assert offset == segment.offset
        assert segment.start_ns >= end
        offset, end = offset + segment.size, segment.end_ns
    assert sum(ms * PER_MS for _, ms, zeros in given_blocks if not zeros) == offset
    asked = DeviceClock()
    last, at = 0, 0
    for given_at, ms, zeros in given_blocks:
        last = max(last, round(given_at * MS))
        asked.add(last, at, ms * PER_MS, zeros=zeros)
        assert asked.segments is asked.segments
        at += 0 if zeros else ms * PER_MS
    assert clock.segments == asked.segments


@given(_BLOCKS)
def test_a_gap_opens_only_where_it_is_due(drawn: list[tuple[int, int, bool, int]]) -> None:
    """No block is heard long before it was given; where one waits, all that follow came late."""
    clock, times, starts = DeviceClock(), [], []
    last, offset = 0, 0
    for at, ms, zeros in _schedule(drawn):
        last = max(last, round(at * MS))
        begin, duration = clock.add(last, offset, ms * PER_MS, zeros=zeros)
        offset += 0 if zeros else ms * PER_MS
        times.append((last, begin, duration, zeros))
    for t, begin, duration, zeros in times:
        if not zeros:
            start = clock.start_of(begin)
            starts.append((t, begin, duration, start))
            assert start >= t - BUFFER_NS - 1_000
    for before, after in pairwise(starts):
        adjoins = before[1] + before[2] == after[1]
        gap = after[3] - (before[3] + before[2])
        assert gap >= -1_000
        if not adjoins or gap < 1_000:
            continue
        # Where it would lie without the gap, and how late each that follows would come there.
        lag = after[3] - gap - after[1]
        late = [t - begin - lag for t, begin, _, _ in times if begin >= after[1]]
        within = [
            t - begin - lag
            for t, begin, _, _ in times
            if begin >= after[1] and t <= after[0] + LOOK_AHEAD_NS
        ]
        assert (
            late[0] > BUFFER_NS - 1_000
            or min(within) >= UNPROVEN_NS - 1_000
            or (len(within) >= PROOF and min(within) >= JITTER_NS - 1_000)
        )


def test_a_format_may_change_between_blocks() -> None:
    """A segment has one format, and time goes on."""
    clock = DeviceClock()
    clock.add(1_000 * MS, 0, 100 * PER_MS, zeros=False)
    clock.set_format(AudioFormat(rate_hz=48_000))
    clock.add(1_100 * MS, 100 * PER_MS, 100 * PER_MS * 2, zeros=False)
    found: list[Segment] = clock.segments
    assert [24_000, 48_000] == [segment.format.rate_hz for segment in found]
    assert [(1_000, 1_200)] == heard(clock)


def test_what_a_device_is_given_at_its_start_waits_before_each_sound() -> None:
    """But not what came together after a stall: that was heard by the next silence."""
    greeting = blocks(1_000, 50, lambda number: -min(number, 3) * BLOCK)
    idle = blocks(2_000, 100, lambda _: -3 * BLOCK, zeros=True)
    answer = blocks(4_000, 50, lambda _: -3 * BLOCK)
    assert [(1_000, 2_000), (4_000, 5_000)] == heard(run([*greeting, *idle, *answer]))
    stalled = blocks(1_000, 50, lambda number: 400 if number == 25 else 0)
    idle, answer = blocks(2_000, 100, zeros=True), blocks(4_000, 50)
    expected = [(1_000, 1_500), (1_900, 2_400), (4_000, 5_000)]
    assert expected == heard(run([*stalled, *idle, *answer]))
