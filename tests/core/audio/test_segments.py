"""Stretches of sound: divided to the sample, and never over one another."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.formats import MULAW, NS_PER_S, PCM, PCM16, AudioFormat
from otel_realtime.core.audio.segments import (
    LOST,
    DurationCounter,
    Segment,
    clip_to_intervals,
    exclude_intervals,
    order_without_overlap,
)
from tests.support.streams import bounded

MS = 1_000_000
G711 = AudioFormat(MULAW, 8_000)
ODD = AudioFormat(PCM, 22_050)

formats = st.sampled_from([PCM16, G711, ODD])
times = st.integers(0, 3 * NS_PER_S)


def segment(start_ns: int, samples: int, audio_format: AudioFormat = PCM16, at: int = 0) -> Segment:
    """So many samples that begin then, from this byte of the source."""
    return Segment(start_ns, at, samples * audio_format.width, audio_format, 7)


segments = st.builds(segment, times, st.integers(1, 30_000), formats)


@st.composite
def disjoint(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Spans in order."""
    edges = sorted(draw(st.sets(times, max_size=6)))
    return list(zip(edges[::2], edges[1::2], strict=False))


@bounded
@given(segments, times)
def test_a_segment_is_divided_to_the_sample(whole: Segment, t: int) -> None:
    """What was played before, what begins afterwards, and at most one sample that is neither."""
    before, after = whole.before(t), whole.after(t)
    assert before.size == 0 or before.end_ns <= t
    assert after.size == 0 or after.start_ns >= t
    assert 0 <= whole.size - before.size - after.size <= whole.format.width
    assert (whole.start_ns, whole.offset) == (before.start_ns, before.offset)
    skipped = after.offset - whole.offset
    assert whole.offset + whole.size == after.offset + after.size
    assert whole.format.duration_ns(skipped) == after.start_ns - whole.start_ns
    assert after.start_ns - whole.start_ns == after.position_ns - whole.position_ns


@bounded
@given(st.lists(segments, max_size=4), disjoint())
def test_what_is_within_and_what_is_without(
    given_segments: list[Segment], spans: list[tuple[int, int]]
) -> None:
    """Nothing of the one sounds in a span, nothing of the other outside; little is lost between."""
    inner, outer = (
        clip_to_intervals(given_segments, spans),
        exclude_intervals(given_segments, spans),
    )
    for part in inner:
        assert any(start <= part.start_ns and part.end_ns <= end for start, end in spans)
    for part in outer:
        assert not any(part.start_ns < end and part.end_ns > start for start, end in spans)
    sizes = [sum(part.size for part in parts) for parts in (given_segments, inner, outer)]
    lost = sizes[0] - sizes[1] - sizes[2]
    assert 0 <= lost <= 2 * PCM16.width * len(spans) * len(given_segments)


@bounded
@given(st.lists(segments, max_size=6))
def test_in_order_nothing_sounds_at_once(given_segments: list[Segment]) -> None:
    """All of it is there; what would begin too early begins later, nothing earlier."""
    ordered = order_without_overlap(given_segments)
    assert all(one.end_ns <= other.start_ns for one, other in pairwise(ordered))
    starts = sorted(one.start_ns for one in given_segments)
    assert all(one <= other.start_ns for one, other in zip(starts, ordered, strict=True))
    assert sum(one.size for one in given_segments) == sum(one.size for one in ordered)


def test_what_goes_on() -> None:
    """The next bytes of the source in the same format, or more that was lost."""
    kept, lost = segment(0, 10), Segment(0, LOST, 20, PCM16, 0)
    assert [True, False, False, False] == [
        kept.is_continued_by(20, PCM16),
        kept.is_continued_by(21, PCM16),
        kept.is_continued_by(20, G711),
        kept.is_continued_by(LOST, PCM16),
    ]
    assert [True, False] == [lost.is_continued_by(LOST, PCM16), lost.is_continued_by(20, PCM16)]


def test_what_was_lost_has_no_place_in_the_source() -> None:
    """However it is divided."""
    lost = Segment(0, LOST, 48_000, PCM16, 0)
    assert (LOST, 500 * MS, 24_000) == (
        lost.after(500 * MS).offset,
        lost.after(500 * MS).start_ns,
        lost.before(500 * MS).size,
    )


@bounded
@given(st.lists(st.integers(0, 1_000), max_size=20))
def test_rounding_does_not_add_up(samples: list[int]) -> None:
    """However small the pieces are, their sum is that of the whole."""
    counter = DurationCounter()
    counter.set_format(ODD)
    at = [counter.add(2 * one) for one in samples]
    assert ODD.duration_ns(2 * sum(samples)) == counter.total_ns
    assert at == [ODD.duration_ns(2 * sum(samples[:number])) for number in range(len(samples))]


def test_a_change_of_format_counts_on() -> None:
    """From where the audio before it ended."""
    counter = DurationCounter()
    counter.add(48_000)
    counter.set_format(G711)
    assert (NS_PER_S, 3 * NS_PER_S // 2) == (counter.add(4_000), counter.total_ns)
