"""The writer's side of one recording: turns frames into the timeline, energy tables and files.

Only one thread at a time records: the writer's, or an app's while it drains the queue. Queries are
thread-safe: a lock is held while a record changes the timeline.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_realtime import diagnostics
from otel_realtime.core.audio.codecs import decode
from otel_realtime.core.audio.energy import FRAME_NS, FRAME_S, EnergyTable
from otel_realtime.core.audio.evidence import Evidence
from otel_realtime.core.audio.formats import (
    NS_PER_MS,
    NS_PER_S,
    PCM,
    PCM16,
    AudioFormat,
    parse_format,
)
from otel_realtime.core.audio.parts import ItemAudio
from otel_realtime.core.audio.player_buffer import ASSUMED_NS
from otel_realtime.core.audio.redactions import Stretch, Words
from otel_realtime.core.audio.segments import LOST, Interval
from otel_realtime.core.audio.talk import (
    SideSources,
    Stretches,
    TalkTimes,
    exact,
    measure_talk,
    reported_stretches_of,
    stretches_of,
)
from otel_realtime.core.audio.timeline import Timeline
from otel_realtime.core.audio.vad_reports import Reported
from otel_realtime.core.audio.voice import LINE_NOISE_DB, SYNTHETIC_NOISE_DB
from otel_realtime.diagnostics import logger_of
from otel_realtime.recording.buffers import sound_in
from otel_realtime.recording.frames import AudioFrame, parse_appends, parse_delta
from otel_realtime.state import owner
from otel_realtime.state.files import remove_folder
from otel_realtime.state.journal import JOURNAL, SOURCES, Folder, line, note_line

logger = logger_of(__name__)

_SIDES: Final = ("user", "agent")
#: The last speech is searched for in this many frames (one minute), against the noise in them.
_LOOK_BACK: Final = 3_000
#: This many frames before an utterance (ten seconds) determine its noise.
_AROUND: Final = 500
#: An item's speech is searched for this long after its commit, in ns. By then its audio is placed.
_SPEECH_AHEAD_NS: Final = 3 * NS_PER_S
_COMMITTED: Final = "input_audio_buffer.committed"

# Journal lines of audio chunks, in the format of ``journal.line``. They make up most of the journal.
_USER_LINE: Final = b'["user",%d,%d,%d]\n'
_QUIET_LINE: Final = b'["user",%d,%d,%d,1]\n'
_AGENT_LINE: Final = b'["agent",%d,%d,%d,%s]\n'

#: A decoded frame: its time, its side, its format and its content.
_Chunk = tuple[int, str, AudioFormat, AudioFrame]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSummary:
    """Totals of a recording.

    Attributes:
        user_talk_s, agent_talk_s: seconds in which each side was heard (until ``measured``: received).
        overlap_s, dead_air_s, longest_silence_s, agent_over_user_s: as in ``TalkTimes``; 0 until
            ``measured``.
        duration_s: length of the recording in seconds.
        has_audio: whether any audio was sent, received or reported by the app.
        measured: the recording is closed, and its talk times are exact.
        player_buffer_ms: how much audio the client's player buffers; ``None`` if the call has not shown it.
        holes: number of gaps that a full backlog caused.
        dropped_ms: duration of the audio that is missing in them.
        bad_frames: number of audio frames that could not be decoded.
        error: why the recording on disk is missing or incomplete; ``None`` if it is complete.
    """

    user_talk_s: float
    agent_talk_s: float
    overlap_s: float
    dead_air_s: float
    longest_silence_s: float
    agent_over_user_s: float
    duration_s: float
    has_audio: bool
    measured: bool
    player_buffer_ms: int | None
    holes: int
    dropped_ms: int
    bad_frames: int
    error: str | None


@dataclass(frozen=True, slots=True)
class TapAudio:
    """One channel of audio that the app reports; ``rate_hz`` ``None``: the session's own rate."""

    raw: bytes
    rate_hz: int | None = None
    encoding: str = PCM
    item_id: str | None = None


class Track:
    """One conversation's recording while it is being written.

    Args:
        header: JSON values for the journal's first record.
        folder: folder of the journal and the audio; ``None``: write nothing.
        keeps_audio: write audio to disk; ``False``: only the journal.
        buffer_ms: how much audio the client's player is assumed to buffer until the call shows it;
            ``None``: the journal says it.
    """

    def __init__(
        self,
        header: Mapping[str, object],
        folder: Path | None,
        *,
        keeps_audio: bool = True,
        buffer_ms: int | None = ASSUMED_NS // NS_PER_MS,
    ) -> None:
        self.folder = folder
        self._keeps_audio = keeps_audio
        self.holes = 0
        self._dropped_ns = 0
        self.bad_frames = 0
        self.error: str | None = None
        self._header = header
        self._files: Folder | None = None
        self._lock = threading.Lock()
        self._timeline = Timeline()
        self._buffer_ms = buffer_ms
        if buffer_ms is not None:
            self._timeline.apply(["buffered", 0, buffer_ms])
        self._evidence = Evidence()
        self._energy = {
            source: EnergyTable(LINE_NOISE_DB if source.startswith("user") else SYNTHETIC_NOISE_DB)
            for source in SOURCES
        }
        self._formats = dict.fromkeys(_SIDES, PCM16)
        # A part keeps the format it began with, even if ``session.update`` changes the session's.
        self._parts: dict[object, AudioFormat] = {}
        self._tap_formats = dict.fromkeys(_SIDES, PCM16)
        self._sizes = dict.fromkeys(SOURCES, 0)  # bytes stored so far: the next chunk's offset
        self._envelopes = dict.fromkeys(_SIDES, 0)  # characters of a frame that are not audio
        self._carried: dict[str, tuple[object, bytes]] = {}  # a part, and half a sample of it
        # Collected until ``flush``: one write per file and slice, not per frame.
        self._audio: dict[str, list[bytes]] = {source: [] for source in SOURCES}
        self._lines: list[bytes] = []
        self._origin: tuple[tuple[str, int, str | None], bytes] = (("", 0, None), b'"",0,null')
        self._has_audio = False
        self._paused = False
        self._tap_rejected = False
        self._talk: TalkTimes | None = None
        # Where items were spoken, and the report each result was derived from.
        self._speeches: dict[str, tuple[Reported, tuple[int, int]]] = {}
        self._committed: deque[tuple[int, str]] = deque()  # when, and the item
        self._closed = False

    # -- recording ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Create the folder, owned by this process, and begin the journal; on the writer thread."""
        if self.folder is None:
            return
        try:
            owner.claim(self.folder)
            self._files = Folder(self.folder)
        except OSError as error:
            self.folder = None
            self._stop_writing(f"cannot write to the state directory: {error}")
            return
        self._lines.append(line(["open", 0, dict(self._header)]))
        if self._buffer_ms is not None:
            self._lines.append(line(["buffered", 0, self._buffer_ms]))

    def frame(self, t: int, sent: bool, frame: str | bytes) -> None:
        """Record an audio frame as it was sent or received at ``t``, ns since the start."""
        self.frames([(t, sent, frame)])

    def frames(self, run: Sequence[tuple[int, bool, str | bytes]]) -> None:
        """Record consecutive audio frames, each as its time, whether it was sent, and the frame.

        Each step processes all of them at once, which is several times cheaper than frame by frame.
        """
        chunks = self._chunks(run)
        if self._paused:
            for t, side, audio_format, audio in chunks:
                self._skip(side, audio_format.duration_ns(len(audio.raw)))
                self._skip_paused(t, side, len(audio.raw), audio)
            return
        voiced = {side: iter(self._measure_chunks(side, chunks)) for side in _SIDES}
        records: list[list[Any]] = []
        lines: list[bytes] = []
        last_t = self._timeline.last_t
        for t, side, _, audio in chunks:
            last_t = max(last_t, t)  # as in ``_time``
            raw, is_voice = audio.raw, next(voiced[side])
            offset, size = self._store(side, raw), len(raw)
            if side == "user":
                quiet = () if is_voice else (1,)
                records.append(["user", last_t, offset, size, *quiet])
                lines.append((_USER_LINE if is_voice else _QUIET_LINE) % (last_t, offset, size))
            else:
                origin = audio[1:4]
                if audio.start_ms is None:
                    records.append(["agent", last_t, offset, size, *origin])
                    lines.append(_AGENT_LINE % (last_t, offset, size, self._origin_text(origin)))
                else:
                    records.append(["agent", last_t, offset, size, *origin, audio.start_ms])
                    lines.append(line(records[-1]))
        apply = self._timeline.apply
        with self._lock:
            for record in records:
                apply(record)
        if self._files is not None:
            self._lines += lines

    def _chunks(self, run: Sequence[tuple[int, bool, str | bytes]]) -> list[_Chunk]:
        """Decode frames; leave out those without a whole sample."""
        appends = [frame for _, sent, frame in run if sent]
        appended = iter(parse_appends(appends) if appends else ())
        chunks: list[_Chunk] = []
        for t, sent, frame in run:
            side = "user" if sent else "agent"
            audio = next(appended) if sent else parse_delta(frame)
            if audio is None:
                self.bad_frames += 1
                continue
            size = len(audio.raw)
            self._has_audio = True
            self._envelopes[side] = len(frame) - size * 4 // 3
            audio_format = self._formats["user"] if sent else self._format_of(t, audio)
            if self._carried or size % audio_format.width:
                audio = self._whole_samples(side, audio, audio_format.width)
            if audio.raw:
                chunks.append((t, side, audio_format, audio))
        return chunks

    def _measure_chunks(self, side: str, chunks: Sequence[_Chunk]) -> list[bool]:
        """Measure the chunks of one side; return whether each contains voice."""
        voiced: list[bool] = []
        mine = [(audio_format, audio.raw) for _, of, audio_format, audio in chunks if of == side]
        for audio_format, group in groupby(mine, itemgetter(0)):
            raws = [raw for _, raw in group]
            sizes = [len(raw) // audio_format.width for raw in raws]
            samples = decode(b"".join(raws), audio_format)
            with self._lock:  # a query for the last speech copies the table that this extends
                voiced += self._energy[side].feed_chunks(samples, sizes, audio_format.rate_hz)
        return voiced

    def _origin_text(self, origin: tuple[str, int, str | None]) -> bytes:
        """Return a chunk's origin as JSON values; it is mostly that of the previous chunk."""
        if origin != self._origin[0]:
            self._origin = origin, line(origin)[1:-2]
        return self._origin[1]

    def _skip_paused(self, t: int, side: str, size: int, audio: AudioFrame) -> None:
        """Record the audio of a paused stretch: its duration, not its samples."""
        t = self._time(t)
        if side == "user":
            self._apply(["hole", t, side, size])
        else:
            place = () if audio.start_ms is None else (audio.start_ms,)
            self._apply(["agent", t, LOST, size, *audio[1:4], *place])

    def tap(self, t: int, side: str, audio: TapAudio) -> None:
        """Record audio that the app hears (side ``user``) or plays (side ``agent``)."""
        source, t = f"{side}-tap", self._time(t)
        audio_format = AudioFormat(audio.encoding, audio.rate_hz or self._formats[side].rate_hz)
        raw = audio.raw[: len(audio.raw) // audio_format.width * audio_format.width]
        if not raw:
            return
        if audio_format != self._tap_formats[side]:
            self._tap_formats[side] = audio_format
            self._apply(["tap_format", t, side, audio_format.to_wire()])
        self._has_audio = True
        if self._paused:
            self._skip(source, audio_format.duration_ns(len(raw)))
            self._apply(["tap", t, side, LOST, len(raw), audio.item_id, 0])
        else:
            samples = decode(raw, audio_format)
            with self._lock:
                voiced = self._energy[source].feed(samples, audio_format.rate_hz)
            if side == "user":
                offset = self._store(source, raw)
                self._apply(["tap", t, side, offset, len(raw), audio.item_id, int(not voiced)])
            else:
                self._tap_agent(t, raw, samples, audio_format, audio.item_id)
        self._check_tap()

    def _tap_agent(
        self,
        t: int,
        raw: bytes,
        samples: npt.NDArray[np.int16],
        audio_format: AudioFormat,
        item_id: str | None,
    ) -> None:
        """Record what the speaker plays: the sound itself, and zeros around it only as a length.

        An idle player reports zeros all the time, and pads the last block of what it plays with zeros.
        They need not be on disk, and they belong to no item.
        """
        width = audio_format.width
        first, after = sound_in(samples, audio_format.rate_hz)
        for start, end in ((0, first), (first, after), (after, samples.size)):
            if start < end:
                quiet = (start, end) != (first, after)
                piece = raw[start * width : end * width]
                offset = LOST if quiet else self._store("agent-tap", piece)
                self._apply(["tap", t, "agent", offset, len(piece), item_id, int(quiet)])

    def _store(self, source: str, raw: bytes) -> int:
        """Append audio to a source; return where it begins."""
        offset = self._sizes[source]
        if self._files is not None and self._keeps_audio:
            self._audio[source].append(raw)
        self._sizes[source] += len(raw)
        return offset

    def tap_hole(self, side: str, audio: TapAudio) -> None:
        """Count a buffer from the app that was dropped because the backlog was full."""
        audio_format = AudioFormat(audio.encoding, audio.rate_hz or self._formats[side].rate_hz)
        self.holes += 1
        self._drop(audio_format.duration_ns(len(audio.raw)))

    def played(self, t: int, item_id: str, content_index: int, audio_ms: float) -> None:
        """Record how much of an item the app has played, in ms."""
        self._apply(["played", self._time(t), item_id, content_index, audio_ms])
        self._check_tap()

    def _check_tap(self) -> None:
        if self._timeline.tap_rejected and not self._tap_rejected:
            self._tap_rejected = True
            logger.warning(
                "ignoring record_agent_audio() and played(), which run more than a second ahead of "
                "the clock: heard times are estimated; call them when samples go to the device"
            )

    def pause(self, t: int) -> None:
        """Discard audio until ``resume``; the recording is silent meanwhile."""
        self._paused = True
        self._apply(["pause", self._time(t)])

    def resume(self, t: int) -> None:
        """Keep audio again, after ``pause``."""
        self._paused = False
        self._apply(["resume", self._time(t)])

    def redact(self, t: int, stretch: Stretch) -> None:
        """Silence a stretch when the recording is rendered."""
        times = [stretch.start_ns, stretch.end_ns]
        self._apply(["redact", self._time(t), *times, stretch.side, stretch.how, stretch.why])

    def spoken(self, t: int, side: str, item_id: str, place: Sequence[int | None]) -> None:
        """Record where an item that arrives in fragments is; see ``core.audio.timeline``."""
        self._apply(["spoken", self._time(t), side, item_id, *place])

    def silence_words(self, t: int, words: Words, text: str | None) -> None:
        """Silence words of an item when the recording is rendered; see ``Redactions.add_words``."""
        place = [words.side, words.item_id, words.from_ms, words.to_ms]
        self._apply(["words", self._time(t), *place, text])

    def use_given_times(self, t: int) -> None:
        """Note that the app provides the times from now on, so they may not pass in real time."""
        self._apply(["given", self._time(t)])

    def jump(self) -> None:
        """Note that the app's times jumped forward."""
        self._apply(["leap", self._timeline.last_t])

    def event(self, t: int, sent: bool, event: Mapping[str, Any]) -> None:
        """Record an event that may say something about audio."""
        if event.get("type") == _COMMITTED and isinstance(event.get("item_id"), str):
            self._committed.append((t, event["item_id"]))
        for record in self._evidence.records(self._time(t), sent, event):
            if record[0] == "format":
                self._formats[record[2]] = parse_format(record[3]) or PCM16
                if record[2] == "user":
                    self._carried.pop("user", None)  # half a sample of the old format
            self._apply(record)

    def hole(self, t: int, sent: bool, frames: int, characters: int) -> None:
        """Record a gap for dropped, unparsed audio frames that are ``characters`` long in total."""
        side = "user" if sent else "agent"
        self.holes += 1
        # Four base64 characters encode three bytes. The rest of a frame is assumed to be as long as that
        # of the last frame that was parsed. https://www.rfc-editor.org/rfc/rfc4648#section-4
        size = max(characters - frames * self._envelopes[side], 0) * 3 // 4
        size -= size % self._formats[side].width
        duration_ns = self._formats[side].duration_ns(size)
        self._skip(side, duration_ns)
        self._drop(duration_ns)
        self._apply(["hole", self._time(t), side, size])

    def _drop(self, duration_ns: int) -> None:
        if not self._paused:  # during a pause the audio would not have been kept anyway
            self._dropped_ns += duration_ns
            diagnostics.warn_once(
                "audio dropped",
                "audio came faster than it could be written, and the backlog of a process is full: "
                "what is dropped is silent in the recording, and is counted as dropped_audio_ms on "
                "the root",
                log=logger,
            )

    def keep_no_audio(self) -> None:
        """Stop writing audio to disk."""
        self._keeps_audio = False

    def note(self, t: int, kind: str, data: Mapping[str, Any]) -> None:
        """Write a journal record about the trace; it does not change the timeline."""
        if self._files is not None:
            self._lines.append(note_line(kind, self._time(t), dict(data)))

    def lose(self, t: int) -> None:
        """Note that the connection closed; another one may continue the conversation."""
        self._apply(["lost", self._time(t)])

    def regain(self, t: int) -> None:
        """Note that another connection continues the conversation."""
        self._evidence.regained()
        self._apply(["regained", self._time(t)])

    def close(self, t: int, by_client: bool) -> None:
        """End the recording."""
        self._apply(["close", self._time(t), by_client])
        self._closed = True

    def finish(self) -> None:
        """Write the remaining data and close the files."""
        self.flush()
        if self._files is not None:
            self._files.close()
            self._files = None

    def measure(self) -> None:
        """Measure the talk times of the finished recording."""
        timeline = self._timeline
        user = reported_stretches_of(
            self._sounds("user"), timeline.user_reports(), timeline.user_silences()
        )
        agent = stretches_of(self._sounds("agent"))
        measured = measure_talk(user, agent, self._timeline.length_ns)
        with self._lock:
            self._talk = measured

    def _sounds(self, side: str) -> SideSources:
        segments = self._timeline.segments(side)
        wire = [segment for segment in segments if not segment.tap]
        tapped = [segment for segment in segments if segment.tap]
        return [(self._energy[side], wire), (self._energy[f"{side}-tap"], tapped)]

    def flush(self) -> None:
        """Write what has been collected to the files."""
        if self._files is not None and (self._lines or any(self._audio.values())):
            try:
                if not self._files.write(self._audio, self._lines):
                    self._stop_sound()
            except OSError as error:
                self._stop_writing(f"cannot write the recording: {error}")
        self._lines.clear()
        for pieces in self._audio.values():
            pieces.clear()

    def fail(self, error: BaseException) -> None:
        """Stop writing because of an internal fault."""
        self._stop_writing(f"internal error: {error!r}")

    def discard(self) -> None:
        """Stop writing and delete the folder."""
        self.drop_files()
        folder, self.folder = self.folder, None
        if folder is not None:
            remove_folder(folder, JOURNAL)

    def drop_files(self) -> None:
        """Close the files without writing."""
        files, self._files = self._files, None
        if files is not None:
            files.close()

    def abandon(self) -> None:
        """Forget the files in a forked child; the parent process writes them."""
        self.drop_files()
        self._lock = threading.Lock()  # a thread of the parent may have held it

    def _skip(self, source: str, duration_ns: int) -> None:
        with self._lock:
            self._energy[source].skip(duration_ns)

    def _time(self, t: int) -> int:
        # The timeline needs ascending times, but several threads enqueue sent and received frames.
        return max(t, self._timeline.last_t)

    def _format_of(self, t: int, audio: AudioFrame) -> AudioFormat:
        if audio.rate_hz is not None and (audio.item_id, audio.content_index) not in self._parts:
            own = AudioFormat(PCM, audio.rate_hz)  # live translation states the rate in every chunk
            if own != self._formats["agent"]:
                self._formats["agent"] = own
                self._apply(["format", self._time(t), "agent", own.to_wire()])
        return self._parts.setdefault((audio.item_id, audio.content_index), self._formats["agent"])

    def _whole_samples(self, side: str, audio: AudioFrame, width: int) -> AudioFrame:
        """Return a chunk's complete samples and carry the rest over; the server may split anywhere."""
        raw = audio.raw
        if width == 1:
            return audio
        part = (audio.item_id, audio.content_index)
        carried = self._carried.pop(side, None)
        if carried is not None and carried[0] == part:
            raw = carried[1] + raw
        rest = len(raw) % width
        if rest:
            self._carried[side] = (part, raw[-rest:])
            raw = raw[:-rest]
        return audio._replace(raw=raw)

    def _apply(self, record: list[Any]) -> None:
        with self._lock:
            self._timeline.apply(record)
        if self._files is not None:
            self._lines.append(line(record))

    def _stop_sound(self) -> None:
        """Stop keeping audio, because there is no room for it within ``state_max_mb``."""
        self._keeps_audio = False
        self.error = self.error or "state_max_mb is used up; from here on the recording is silent"
        diagnostics.lose(diagnostics.AUDIO)
        diagnostics.warn_once(
            "state_max_mb",
            "state_max_mb is used up, also by calls that go on: recordings are silent from here on; "
            "the calls are traced as ever",
            log=logger,
            level=logging.ERROR,
        )

    def _stop_writing(self, reason: str) -> None:
        self.drop_files()
        self.error = self.error or reason
        diagnostics.warn_once(
            ("recording", reason.partition(":")[0]),
            "%s; the conversation is traced, but its recording ends here",
            reason,
            log=logger,
            level=logging.ERROR,
        )

    # -- queries, thread-safe ----------------------------------------------------------------------

    def refresh(self, *, at_once: bool) -> bool:
        """Do what ``Timeline.refresh`` does, and search for the speech of committed items."""
        with self._lock:
            fresh = self._timeline.refresh(at_once=at_once)
        self._find_speeches()
        return fresh

    @property
    def last_t(self) -> int:
        """Time of the latest record, ns since the start."""
        return self._timeline.last_t

    def item(self, item_id: str) -> ItemAudio | None:
        """Return what ``Recorder.item`` does."""
        with self._lock:
            return self._timeline.item(item_id)

    def statement_due(self, item_id: str) -> int:
        """Return what ``Recorder.statement_due`` does."""
        with self._lock:
            return self._timeline.statement_due(item_id)

    def user_time(self, audio_ms: int) -> int | None:
        """Return what ``Recorder.user_time`` does."""
        with self._lock:
            return self._timeline.user_time(audio_ms)

    def user_item(self, item_id: str) -> tuple[int, int] | None:
        """Return what ``Recorder.user_item`` does."""
        with self._lock:
            return self._timeline.user_item(item_id)

    def last_voice(self, before_t: int) -> int | None:
        """Return what ``Recorder.last_voice`` does."""
        with self._lock:
            tapped = self._timeline.user_is_tapped
            low = self._frames_by(before_t, tapped)
            first = max(low - _LOOK_BACK, 0)
            voiced = np.flatnonzero(self._user_energy(tapped).voiced(first, low))
            if not voiced.size:
                return None
            last = first + int(voiced[-1])
            return self._timeline.user_time_at((last + 1) * FRAME_NS, tap=tapped)

    def user_speech(self, item_id: str) -> tuple[int, int] | None:
        """Return what ``Recorder.user_speech`` does."""
        with self._lock:
            report = self._timeline.user_report(item_id)
            if report is None:
                committed = self._timeline.user_item(item_id)
                if committed is None:
                    return None
                report = Reported(committed, None, None)
            elif report.start is not None and report.end is not None:
                return report.start, report.end
            return self._find_speech(item_id, report)

    def _find_speech(self, item_id: str, report: Reported) -> tuple[int, int]:
        """Return where the speech of a report is; the search is slow, so its result is kept.

        A result is valid as long as the report's audio stays in its place. Results for a tap are not
        kept: a late block may move its audio until the end of the call.
        """
        tapped = self._timeline.user_is_tapped
        known = self._speeches.get(item_id)
        if known is not None and known[0] == report and not tapped:
            return known[1]
        voiced, is_whole = self._voiced_around(report.within, tapped)
        start, end = exact(report, voiced)
        found = round(start * NS_PER_S), round(end * NS_PER_S)
        if is_whole and not tapped:
            self._speeches[item_id] = report, found
        return found

    def _find_speeches(self) -> None:
        """Search for the speech of committed items now, so that the close does not have to."""
        due = self._timeline.last_t - _SPEECH_AHEAD_NS
        while self._committed and self._committed[0][0] <= due:
            self.user_speech(self._committed.popleft()[1])

    def _voiced_around(self, within: Interval, tapped: bool) -> tuple[Stretches, bool]:
        """Return the stretches of voice within an interval, judged against the noise around it.

        Also return whether all of the interval's audio has been received.
        """
        low, high = self._frames_by(within[0], tapped), self._frames_by(within[1], tapped)
        first = max(low - _AROUND, 0)
        voiced = first + np.flatnonzero(self._user_energy(tapped).voiced(first, high + 1))
        frames = voiced[voiced >= low]
        # Place only the edges of consecutive frames: placing each frame would take as long again.
        runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1) if frames.size else []
        place = self._timeline.user_time_at
        # 1 ns later, so that a frame after a gap gets its own start, not the end of the frame before.
        times = [
            (
                (place(int(run[0]) * FRAME_NS + 1, tap=tapped) or 1) - 1,
                place((int(run[-1]) + 1) * FRAME_NS, tap=tapped) or 0,
            )
            for run in runs
        ]
        is_whole = self._closed or high < self._user_energy(tapped).frames
        return np.array(times, np.float64).reshape(-1, 2) / NS_PER_S, is_whole

    def _user_energy(self, tapped: bool) -> EnergyTable:
        return self._energy["user-tap" if tapped else "user"]

    def _frames_by(self, t: int, tapped: bool) -> int:
        """Return how many of the user's frames end by a time; the ends are ascending."""
        low, high = 0, self._user_energy(tapped).frames
        while low < high:
            middle = (low + high + 1) // 2
            end = self._timeline.user_time_at(middle * FRAME_NS, tap=tapped)
            if end is not None and end <= t:
                low = middle
            else:
                high = middle - 1
        return low

    def summary(self) -> AudioSummary:
        """Return what ``Recorder.summary`` does."""
        with self._lock:
            measured = self._talk or TalkTimes(*(self._running(side) for side in _SIDES))
            length, buffer_ns = self._timeline.length_ns, self._timeline.player_buffer_ns
        return AudioSummary(
            user_talk_s=round(measured.user_s, 3),
            agent_talk_s=round(measured.agent_s, 3),
            overlap_s=round(measured.overlap_s, 3),
            dead_air_s=round(measured.dead_air_s, 3),
            longest_silence_s=round(measured.longest_silence_s, 3),
            agent_over_user_s=round(measured.agent_over_user_s, 3),
            duration_s=length / NS_PER_S,
            has_audio=self._has_audio,
            measured=self._talk is not None,
            player_buffer_ms=None if buffer_ns is None else buffer_ns // NS_PER_MS,
            holes=self.holes,
            dropped_ms=self._dropped_ns // NS_PER_MS,
            bad_frames=self.bad_frames,
            error=self.error,
        )

    def timeline(self) -> Timeline | None:
        """Return what ``Recorder.timeline`` does."""
        return self._timeline if self._closed and self.error is None else None

    def redacted(self) -> list[Stretch]:
        """Return what ``Recorder.redacted`` does."""
        with self._lock:
            return self._timeline.redacted()

    def _running(self, side: str) -> float:
        return self._energy[side].loud_frames * FRAME_S
