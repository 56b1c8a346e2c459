"""Audio that says where it lies on the session's clock."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.formats import NS_PER_MS, AudioFormat
from otel_realtime.core.audio.segments import LOST
from otel_realtime.core.audio.stream import SessionStream
from otel_realtime.core.audio.timeline import Timeline
from tests.support.streams import bounded

#: PCM16 at 24 kHz.
BYTES_PER_MS = 48


def placed(*chunks: tuple[int, int], ms: int = 100) -> list[tuple[int, int]]:
    """Where chunks are heard (ms): each by its arrival and its place on the session's clock."""
    stream = SessionStream()
    for number, (at_ms, start_ms) in enumerate(chunks):
        size = ms * BYTES_PER_MS
        stream.add(at_ms * NS_PER_MS, number * size, size, start_ms)
    return heard(stream)


def heard(stream: SessionStream) -> list[tuple[int, int]]:
    """Its segments, in ms."""
    return [
        (segment.start_ns // NS_PER_MS, segment.end_ns // NS_PER_MS)
        for segment in stream.segments()
    ]


def test_a_chunk_has_ended_when_it_comes() -> None:
    """So an observer who joins after ten seconds places it before its arrival."""
    assert [(50, 250)] == placed((150, 10_000), (250, 10_100))


def test_what_the_server_dropped_is_a_gap() -> None:
    """Of the right length."""
    assert [(50, 250), (450, 650)] == placed(
        (150, 10_000), (250, 10_100), (550, 10_400), (650, 10_500)
    )


def test_everything_moves_when_a_smaller_delay_is_seen() -> None:
    """The first chunks had been held up."""
    assert [(0, 400)] == placed((300, 0), (320, 100), (340, 200), (400, 300))


def test_what_runs_far_ahead_stands_where_it_began() -> None:
    """A script that tells a second of audio at once: nothing of it is cut off."""
    assert [(10, 1010)] == placed(*[(10, at * 100) for at in range(10)])


def test_what_was_heard_before_the_connection_is_left_out() -> None:
    """It has no place in the recording."""
    assert [(0, 60)] == placed((60, 5_000))


def test_a_new_session_counts_from_0_again() -> None:
    """And never overlaps the one before."""
    stream = SessionStream()
    stream.add(200 * NS_PER_MS, 0, 100 * BYTES_PER_MS, 10_000)
    stream.reset()
    stream.add(500 * NS_PER_MS, 4_800, 100 * BYTES_PER_MS, 0)
    assert [(100, 200), (400, 500)] == heard(stream)


def test_audio_that_was_not_kept_takes_its_time() -> None:
    """A pause of the recording is a hole, and what follows stands where it was."""
    stream = SessionStream()
    stream.add(100 * NS_PER_MS, LOST, 100 * BYTES_PER_MS, 0)
    stream.add(200 * NS_PER_MS, 0, 100 * BYTES_PER_MS, 100)
    assert [LOST, 0] == [segment.offset for segment in stream.segments()]


def test_the_timeline_ends_it_with_the_call() -> None:
    """And counts its length."""
    timeline = Timeline()
    timeline.apply(["agent", 150 * NS_PER_MS, 0, 4_800, "", 0, None, 10_000])
    timeline.apply(["close", 120 * NS_PER_MS, True])
    assert [(50, 120)] == [
        (segment.start_ns // NS_PER_MS, segment.end_ns // NS_PER_MS)
        for segment in timeline.segments("agent")
    ]
    assert 120 * NS_PER_MS == timeline.length_ns


def test_a_tap_replaces_it() -> None:
    """From its first block on."""
    timeline = Timeline()
    timeline.apply(["agent", 100 * NS_PER_MS, 0, 4_800, "", 0, None, 0])
    timeline.apply(["tap", 50 * NS_PER_MS, "agent", 0, 960])
    timeline.apply(["close", 200 * NS_PER_MS, True])
    heard_of = [(one.tap, one.start_ns // NS_PER_MS) for one in timeline.segments("agent")]
    assert [(False, 0), (True, 50)] == heard_of


def test_a_format_counts_from_the_next_chunk_on() -> None:
    """As on the other sides."""
    stream = SessionStream()
    stream.set_format(AudioFormat("audio/pcmu", 8_000))
    stream.add(100 * NS_PER_MS, 0, 800, 0)
    assert [(0, 100)] == heard(stream)


@bounded
@given(
    st.lists(
        st.tuples(st.integers(0, 3_000), st.integers(0, 30_000), st.integers(1, 400)), max_size=12
    )
)
def test_segments_are_ordered_and_disjoint(chunks: list[tuple[int, int, int]]) -> None:
    """Whatever the server says."""
    stream, offset, t = SessionStream(), 0, 0
    for later, start_ms, ms in chunks:
        t += later
        stream.add(t * NS_PER_MS, offset, ms * BYTES_PER_MS, start_ms)
        offset += ms * BYTES_PER_MS
    segments = stream.segments()
    assert all(segment.start_ns >= 0 for segment in segments)
    assert all(one.end_ns <= two.start_ns for one, two in pairwise(segments))
    assert not segments or segments[-1].end_ns == stream.end_ns
