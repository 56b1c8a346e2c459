"""User placement: sends in, places in the recording out; 1 ms is 48 bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.formats import AudioFormat
from otel_realtime.core.audio.room import Room
from otel_realtime.core.audio.user_side import LOOK_AHEAD_NS, UserPlacement

MS = 1_000_000


class Microphone:
    """Sends frames and tells where they end up, in ms: (start, where in the source, length)."""

    def __init__(self) -> None:
        self.placement = UserPlacement()
        self.sent = 0

    def send(self, at_ms: float, length_ms: float, *, quiet: bool = False) -> None:
        size = round(length_ms * 48)
        self.placement.append(round(at_ms * MS), self.sent, size, quiet=quiet)
        self.sent += size

    def stream(self, start_ms: float, end_ms: float, *, quiet: bool = False) -> None:
        """Frames of 20 ms, each sent the moment it was spoken."""
        at = start_ms
        while at < end_ms:
            at += 20
            self.send(at, 20, quiet=quiet)

    def placed(self) -> list[tuple[float, float, float]]:
        self.placement.finish()
        return [
            (segment.start_ns / MS, segment.offset / 48, segment.size / 48)
            for segment in self.placement.segments
        ]


def test_a_steady_microphone_is_one_segment() -> None:
    """Speech sits where it was spoken: before it was sent."""
    microphone = Microphone()
    microphone.stream(100, 10_100)
    assert microphone.placed() == [(100, 0, 10_000)]


def test_a_stall_and_its_backlog_leave_no_trace() -> None:
    """Frames held back by a stalled loop and sent in one burst go to where they were spoken."""
    for stall in (800, 1_500, 3_000):
        microphone = Microphone()
        microphone.stream(0, 2_000)
        for _ in range(stall // 20):
            microphone.send(2_000 + stall, 20)
        microphone.stream(2_000 + stall, 9_000)
        assert [(0, 0, microphone.sent / 48)] == microphone.placed()


def test_jitter_neither_cuts_nor_shifts_speech() -> None:
    """Sends that are late by up to 40 ms leave one continuous segment."""
    microphone = Microphone()
    for number in range(500):
        late = (number * 7919) % 41
        microphone.send(1_000 + (number + 1) * 20 + late, 20)
    assert microphone.placed() == [(1_000, 0, 10_000)]


def test_a_mute_is_silence() -> None:
    """Nothing sent for a while is a gap of just that length, however short."""
    microphone = Microphone()
    microphone.stream(0, 3_000)
    microphone.stream(3_200, 6_000)
    microphone.stream(66_000, 67_000)
    assert microphone.placed() == [(0, 0, 3_000), (3_200, 3_000, 2_800), (66_000, 5_800, 1_000)]


def test_push_to_talk_is_placed_before_the_release() -> None:
    """An utterance that is sent at once when the button is released was spoken before that."""
    microphone = Microphone()
    microphone.stream(0, 1_000)
    for _ in range(150):
        microphone.send(20_000, 20)
    microphone.stream(30_000, 31_000)
    assert microphone.placed() == [(0, 0, 1_000), (17_000, 1_000, 3_000), (30_000, 4_000, 1_000)]


def test_a_file_runs_on_from_its_send() -> None:
    """More than five seconds at once cannot have been spoken before: it plays from its send."""
    for chunk in (20, 100, 7_000):
        microphone = Microphone()
        for _ in range(7_000 // chunk):
            microphone.send(2_000, chunk)
        assert [(2_000, 0, 7_000 // chunk * chunk)] == microphone.placed()


def test_a_file_does_not_pull_the_speech_before_it() -> None:
    """Speech shortly before a file stays where it was spoken."""
    microphone = Microphone()
    microphone.stream(10_000, 11_000)
    for _ in range(80):
        microphone.send(13_000, 100)
    assert microphone.placed() == [(10_000, 0, 1_000), (13_000, 1_000, 8_000)]


def test_audio_from_before_the_start_begins_at_zero() -> None:
    """A backlog from before the connection cannot be placed before the recording."""
    microphone = Microphone()
    for _ in range(50):
        microphone.send(300, 20)
    assert microphone.placed() == [(0, 0, 1_000)]


def test_lag_is_absorbed_in_silence() -> None:
    """After a backlog a live microphone catches up as soon as it is quiet."""
    microphone = Microphone()
    for _ in range(50):
        microphone.send(300, 20)
    microphone.stream(300, 2_300)
    microphone.stream(2_300, 4_300, quiet=True)
    microphone.stream(4_300, 6_300)
    (_, _, before), (start, offset, length) = microphone.placed()
    assert 3_000 == before == start
    assert offset + length == 7_000
    assert start + length == 6_300


def test_quiet_frames_of_a_script_are_kept() -> None:
    """A script that sends its first chunk at once and then keeps pace loses no sample."""
    microphone = Microphone()
    for number in range(50):
        microphone.send(5 + number * 100, 100, quiet=number < 10)
    assert microphone.placed() == [(0, 0, 5_000)]


def test_a_slow_clock_opens_gaps_where_it_is_quiet() -> None:
    """A microphone 1 % slow neither drifts nor gets clicks into its speech."""
    microphone = Microphone()
    for number in range(200):
        microphone.send((number + 1) * 20.2, 20, quiet=(number // 50) % 2 == 1)
    placed = microphone.placed()
    assert all(start - 20 * 2.5 <= offset * 1.01 <= start + 50 for start, offset, _ in placed)
    assert all(
        offset == 2_000 or 1_000 <= offset < 2_000 or offset >= 3_000 for _, offset, _ in placed[1:]
    )


def test_lost_audio_takes_its_time() -> None:
    """A hole is silent and what follows it stays in place."""
    microphone = Microphone()
    microphone.stream(0, 1_000)
    microphone.placement.append_lost(1_500 * MS, 500 * 48)
    microphone.stream(1_500, 2_000)
    assert microphone.placed() == [(0, 0, 1_000), (1_000, -1 / 48, 500), (1_500, 1_000, 500)]


def test_a_format_change_counts_bytes_anew() -> None:
    """After a change to G.711 a second has 8000 bytes."""
    placement = UserPlacement()
    placement.append(1_000 * MS, 0, 48_000)
    placement.set_format(AudioFormat("audio/pcmu", 8_000))
    placement.append(2_000 * MS, 48_000, 8_000)
    placement.finish()
    assert [(s.start_ns, s.size) for s in placement.segments] == [(0, 48_000), (1_000 * MS, 8_000)]


def test_session_time_maps_appended_audio_to_when_it_was_spoken() -> None:
    """The server's milliseconds count appended audio; a mute lies between."""
    microphone = Microphone()
    assert microphone.placement.session_time(0) is None
    microphone.stream(0, 1_000)
    microphone.stream(9_000, 10_000)
    times = [microphone.placement.session_time(ms) for ms in (500, 1_000, 1_500, 5_000)]
    assert times == [500 * MS, 1_000 * MS, 9_500 * MS, 10_000 * MS]
    microphone.placement.finish()
    assert times == [microphone.placement.session_time(ms) for ms in (500, 1_000, 1_500, 5_000)]


def test_session_time_starts_again_with_a_new_session() -> None:
    """After a reconnect the server counts from zero."""
    microphone = Microphone()
    microphone.stream(0, 1_000)
    microphone.placement.reset()
    microphone.stream(3_000, 4_000)
    assert microphone.placement.session_time(250) == 3_250 * MS


sends = st.lists(
    st.tuples(
        st.integers(0, 8_000 * MS),  # time since the send before
        st.integers(0, 7_000 * 48).map(lambda size: size // 2 * 2),
        st.booleans(),
    ),
    max_size=40,
)


@given(sends)
def test_segments_never_overlap_nor_go_back(frames: list[tuple[int, int, bool]]) -> None:
    """Whatever is sent when: in order, disjoint, from zero on, nothing twice."""
    placement, t, offset = UserPlacement(), 0, 0
    for wait, size, quiet in frames:
        t += wait
        placement.append(t, offset, size, quiet=quiet)
        offset += size
        mapped = [placement.time_at(at) for at in range(0, offset * 20_833, 500 * MS)]
        assert mapped == sorted(mapped, key=lambda time: time or 0)
    placement.finish()
    end = used = 0
    for segment in placement.segments:
        assert segment.start_ns >= end
        assert segment.offset >= used
        end, used = segment.end_ns, segment.offset + segment.size
    assert used <= offset
    if not any(quiet for _, _, quiet in frames):
        assert offset == sum(segment.size for segment in placement.segments)


@given(sends)
def test_memory_is_bounded_by_the_look_ahead(frames: list[tuple[int, int, bool]]) -> None:
    """What waits for a decision is never more than the look-ahead holds."""
    placement, t = UserPlacement(), 0
    for wait, size, quiet in frames:
        t += wait
        placement.append(t, 0, size, quiet=quiet)
        waiting = list(placement._pending)
        assert all(t - frame.t <= LOOK_AHEAD_NS for frame in waiting)
        if waiting:
            held = waiting[-1].after_ns - waiting[0].before_ns
            assert held <= 2 * LOOK_AHEAD_NS + waiting[-1].duration_ns


class Talk(Microphone):
    """A user's side with an agent that sounds: (start, length) in ms, as its audio arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room()
        self.placement = UserPlacement(self.room)

    def sounds(self, at_ms: float, length_ms: float) -> None:
        if self.room.add(round(at_ms * MS), round(length_ms * MS)):
            self.placement.answered(round(at_ms * MS))

    def file(self, at_ms: float, length_ms: float, piece_ms: float) -> None:
        """A file at once, in pieces."""
        for number in range(round(length_ms / piece_ms)):
            self.send(at_ms + number * 0.1, piece_ms)

    def whole(self) -> list[tuple[int, int]]:
        """Start and end of what adjoins, in ms."""
        found: list[tuple[int, int]] = []
        for start, _, length in self.placed():
            if found and abs(start - found[-1][1]) < 1:
                found[-1] = (found[-1][0], round(start + length))
            else:
                found.append((round(start), round(start + length)))
        return found


LENGTHS = [1_500, 3_000, 4_000, 5_000, 6_000, 8_000, 20_000]


@pytest.mark.parametrize("piece_ms", [100, 500, None])
@pytest.mark.parametrize("length_ms", LENGTHS)
def test_a_file_lies_between_what_caused_it_and_its_answer(
    length_ms: int, piece_ms: int | None
) -> None:
    """As far as there is room; else not over the greeting, which was heard before it was sent."""
    talk = Talk()
    talk.sounds(24_000, 5_000)
    talk.file(29_500, length_ms, piece_ms or length_ms)
    talk.sounds(31_000, 10_000)
    ((start, end),) = talk.whole()
    assert length_ms == end - start
    assert 29_000 <= start <= 29_501
    assert end <= max(31_001, 29_000 + length_ms + 1)


@pytest.mark.parametrize("piece_ms", [20, 100, None])
@pytest.mark.parametrize("length_ms", LENGTHS)
def test_a_file_ends_before_its_answer_if_nothing_was_heard(
    length_ms: int, piece_ms: int | None
) -> None:
    """There is room for it before its send."""
    talk = Talk()
    talk.file(29_500, length_ms, piece_ms or length_ms)
    talk.sounds(31_000, 10_000)
    ((start, end),) = talk.whole()
    assert (length_ms, True) == (end - start, end <= 31_001)


@pytest.mark.parametrize("length_ms", LENGTHS)
def test_a_file_that_nobody_answers_runs_on_from_its_send(length_ms: int) -> None:
    """After what the agent still says."""
    talk = Talk()
    talk.sounds(1_000, 3_000)
    talk.file(2_000, length_ms, length_ms)
    assert [(4_000, 4_000 + length_ms)] == talk.whole()


def test_a_file_that_the_vad_hears_is_none_that_was_held_back() -> None:
    """In frames of a microphone, too: with push to talk the client commits."""
    for detected, expected in ((True, (5_000, 8_000)), (False, (2_000, 5_000))):
        talk = Talk()
        talk.placement.detected = detected
        talk.sounds(1_000, 3_000)
        talk.file(5_000, 3_000, 20)
        assert [expected] == [(start // 100 * 100, end // 100 * 100) for start, end in talk.whole()]


def test_what_a_button_held_back_was_spoken_before() -> None:
    """Also while the agent speaks."""
    talk = Talk()
    talk.sounds(1_000, 6_000)
    for _ in range(100):
        talk.send(5_000, 20)
    assert [(3_000, 5_000)] == talk.whole()


def test_a_backlog_of_a_microphone_is_no_file() -> None:
    """Over the agent's words: it adjoins what was sent before and after it."""
    talk = Talk()
    talk.sounds(1_000, 9_000)
    for number in range(100):
        at = (number + 1) * 100
        talk.send(5_000 if 2_000 < at < 5_000 else at, 100)
    assert [(0, 10_000)] == talk.whole()


def test_two_files_in_a_row_follow_one_another() -> None:
    """Each after what caused it, as far as there is room."""
    talk = Talk()
    talk.file(1_000, 4_000, 4_000)
    talk.sounds(2_500, 3_000)
    talk.file(6_000, 4_000, 4_000)
    talk.sounds(7_500, 3_000)
    talk.stream(20_000, 22_000)
    assert [(0, 4_000), (5_500, 9_500), (20_000, 22_000)] == talk.whole()


agents = st.lists(st.tuples(st.integers(0, 30_000), st.integers(20, 9_000)), max_size=6)


@given(sends, agents)
def test_whatever_the_agent_says_nothing_overlaps_or_goes_back(
    frames: list[tuple[int, int, bool]], sounds: list[tuple[int, int]]
) -> None:
    """Files that are moved included; not a sample is lost that is not quiet."""
    talk = Talk()
    steps: list[tuple[int, int, int, bool]] = [(t * MS, -1, ms, False) for t, ms in sounds]
    t = 0
    for wait, size, quiet in frames:
        t += wait
        steps.append((t, 0, size, quiet))
    offset = 0
    for at, kind, size, quiet in sorted(steps):
        if kind < 0:
            talk.sounds(at / MS, size)
        else:
            talk.placement.append(at, offset, size, quiet=quiet)
            offset += size
    talk.placement.finish()
    end = used = 0
    for segment in talk.placement.segments:
        assert segment.start_ns >= end
        assert segment.offset >= used
        end, used = segment.end_ns, segment.offset + segment.size
    if not any(quiet for _, _, quiet in frames):
        assert offset == sum(segment.size for segment in talk.placement.segments)
