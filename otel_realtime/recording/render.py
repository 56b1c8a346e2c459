"""Renders a conversation's folder as one stereo WAV: the user on the left, the agent on the right.

Rendering is one streaming pass over the journal and the audio, a second at a time, so memory use does not
depend on the length. The folder of a process that died is rendered as far as its journal goes. After the
samples, the file says whose conversation it is, who is on which side, and what happens where
(``description``, ``labels``). The loudness of each side is measured in the same pass.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from otel_realtime import diagnostics
from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.core.audio.redactions import SIDES
from otel_realtime.core.audio.timeline import Timeline
from otel_realtime.diagnostics import logger_of
from otel_realtime.errors import RecordingError
from otel_realtime.recording.about import About, Mark, pause_label, redaction_label
from otel_realtime.recording.blank import blank_sources
from otel_realtime.recording.channel import Channel, common_rate, sample_at
from otel_realtime.recording.chunks import CHANNELS, FRAME_BYTES, wav_header
from otel_realtime.recording.description import pack_description
from otel_realtime.recording.labels import labels_of, pack_labels
from otel_realtime.recording.loudness import LoudnessMeter, integrated
from otel_realtime.recording.mask import Mask
from otel_realtime.recording.pacing import Pacer
from otel_realtime.recording.soundtrack import end
from otel_realtime.state.files import made_anew
from otel_realtime.state.journal import MALFORMED, SOURCES, read
from otel_realtime.state.quota import quota_for, used_up
from otel_realtime.state.sounds import read_sound

logger = logger_of(__name__)

_ABOUT_NOBODY: Final = About()


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered recording.

    Attributes:
        path: the WAV.
        frames: number of frames (pairs of samples).
        rate_hz: sample rate.
        duration_s: length in seconds.
        loudness: integrated loudness of each side, LUFS; a side that was never heard has none.
    """

    path: Path
    frames: int
    rate_hz: int
    duration_s: float
    loudness: Mapping[str, float] = field(default_factory=dict)


def load(folder: Path) -> Timeline:
    """Return the timeline of a folder's journal, whether or not the journal is complete.

    Raises:
        RecordingError: there is no readable journal.
    """
    timeline, pacer, last_t = Timeline(), Pacer(), 0
    for record in read(folder):
        try:
            known = read_sound(record)
            if known is not None:
                timeline.apply(known)
        except MALFORMED:  # a damaged record, or invalid data from the app: skip this record only
            continue
        last_t = max(last_t, record[1])
        pacer.step()
    end(timeline, last_t)
    return timeline


def render(
    folder: Path,
    out: Path,
    *,
    about: About = _ABOUT_NOBODY,
    timeline: Timeline | None = None,
    leave_sources: bool = False,
) -> Rendered:
    """Render the recording of a conversation's folder as a WAV (16-bit stereo).

    Its sample rate is the higher one of the two sides: 8 kHz if both are G.711. The file appears under its
    name only when it is complete. Redacted stretches are silent in it, and afterwards in the sources, too.

    Args:
        folder: the conversation's folder.
        out: path of the WAV.
        about: whose conversation it is, and its turns; the WAV contains this.
        timeline: the finished timeline of the journal, if it is known; ``None``: read the journal.
        leave_sources: silence redacted stretches only in the WAV, for callers that only inspect.

    Returns:
        The rendered recording.

    Raises:
        RecordingError: the folder cannot be read, or ``out`` cannot be written.
    """
    timeline = load(folder) if timeline is None else timeline
    user, agent = timeline.segments("user"), timeline.segments("agent")
    rate_hz = common_rate([*user, *agent])
    if timeline.cut_ns:
        logger.warning(
            "the recording of %s ends %d s before the conversation: an hour after the last sound",
            folder.name,
            timeline.cut_ns // NS_PER_S,
        )
    if timeline.unsaid_ns:
        logger.info(
            "the recording of %s ends with the call, %.1f s before the end of the audio that was "
            "sent: it came faster than it can have been spoken",
            folder.name,
            timeline.unsaid_ns / NS_PER_S,
        )
    frames = sample_at(timeline.length_ns, rate_hz)
    silenced = timeline.redacted()
    masks = [Mask(silenced, side, rate_hz) for side in SIDES]
    meters = [LoudnessMeter(rate_hz) for _ in SIDES]
    labels = pack_labels(labels_of([*about.marks, *_marks(timeline)], frames, rate_hz))
    size_behind = len(pack_description(about, rate_hz)) + len(labels)
    header = wav_header(frames, rate_hz, size_behind)
    partial = out.with_name(out.name + ".part")
    try:
        size = len(header) + frames * FRAME_BYTES + size_behind
        _check_disk_space(size, out.parent)
        quota = quota_for(folder)
        with (
            quota.reserved(size, keep=folder),
            Channel(_sources(folder, "user"), user, rate_hz) as left,
            Channel(_sources(folder, "agent"), agent, rate_hz) as right,
            open(partial, "wb", opener=made_anew) as file,
        ):
            file.write(header)
            pacer = Pacer()
            for start in range(0, frames, rate_hz):
                both = np.zeros((CHANNELS, min(rate_hz, frames - start)), "<i2")
                left.fill(both[0], start)
                right.fill(both[1], start)
                for samples, mask, meter in zip(both, masks, meters, strict=True):
                    mask.apply(samples, start)
                    meter.feed(samples)
                if quota.exceeded:
                    raise used_up()
                block = np.empty((both.shape[1], CHANNELS), "<i2")
                block[:, 0], block[:, 1] = both  # copying the transpose takes five times as long
                file.write(block.data)
                pacer.step()
            file.write(pack_description(about, rate_hz, integrated(meters)))
            file.write(labels)
        os.replace(partial, out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno == used_up().errno:
            diagnostics.lose(diagnostics.AUDIO)
        raise RecordingError(f"cannot render the recording of {folder}: {error}") from error
    if silenced and not leave_sources:
        try:
            blank_sources(folder, timeline)
        except OSError as error:
            logger.warning(
                "what is silenced in the recording of %s stays in its sources: %s", folder, error
            )
    loudness = {
        side: round(measured, 1)
        for side, meter in zip(SIDES, meters, strict=True)
        if (measured := integrated([meter])) is not None
    }
    return Rendered(out, frames, rate_hz, frames / rate_hz, loudness)


def _marks(timeline: Timeline) -> Iterator[Mark]:
    """Yield the marks that the timeline knows: pauses, and silenced stretches."""
    for start_ns, end_ns in timeline.pauses:
        yield Mark(start_ns, end_ns, pause_label())
    for stretch in timeline.redacted():
        yield Mark(stretch.start_ns, stretch.end_ns, redaction_label(stretch.side))


def _check_disk_space(size: int, folder: Path) -> None:
    """Check that a recording fits on the disk: a damaged journal may claim a length of months.

    Raises:
        OSError: there is not enough space for ``size`` bytes.
    """
    if size > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sources(folder: Path, side: str) -> tuple[Path, Path]:
    """Return the files of a side's audio: the one on the wire, and the one that the app reported."""
    return folder / SOURCES[side], folder / SOURCES[f"{side}-tap"]
