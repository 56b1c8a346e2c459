"""Renders a conversation's folder as one stereo WAV: left the user, right the agent.

It is one streaming pass over journal and audio, a second at a time, so memory does not depend on the
length. The folder of a process that died is rendered as far as its journal goes. Layout of the file:
https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from otel_realtime import diagnostics
from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.core.audio.redactions import SIDES
from otel_realtime.core.audio.timeline import Timeline
from otel_realtime.diagnostics import logger_of
from otel_realtime.errors import RecordingError
from otel_realtime.recording.blank import blank_sources
from otel_realtime.recording.channel import Channel, common_rate, sample_at
from otel_realtime.recording.mask import Mask
from otel_realtime.recording.pacing import Pacer
from otel_realtime.recording.soundtrack import end
from otel_realtime.state.files import made_anew
from otel_realtime.state.journal import MALFORMED, SOURCES, read
from otel_realtime.state.quota import quota_for, used_up
from otel_realtime.state.sounds import read_sound

logger = logger_of(__name__)

WAV_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
_CHANNELS: Final = 2
#: Bytes of one frame: a 16-bit sample of each channel.
_FRAME_BYTES: Final = 4
_MAX_UINT32: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered recording.

    Attributes:
        path: the WAV.
        frames: number of frames (pairs of samples).
        rate_hz: sample rate.
        duration_s: length in seconds.
    """

    path: Path
    frames: int
    rate_hz: int
    duration_s: float


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
        except MALFORMED:  # a damaged record, or nonsense from the app: skip this record only
            continue
        last_t = max(last_t, record[1])
        pacer.step()
    end(timeline, last_t)
    return timeline


def render(folder: Path, out: Path, *, leave_sources: bool = False) -> Rendered:
    """Render the recording of a conversation's folder as a WAV (16-bit stereo).

    Its sample rate is the highest of both sides: 8 kHz if both are G.711. The file appears under its
    name when it is complete. What is to be silenced is silent in it, and then in the sources, too.

    Args:
        folder: the conversation's folder.
        out: path of the WAV.
        leave_sources: what is to be silenced is silent in the WAV only: for who only looks.

    Returns:
        The rendered recording.

    Raises:
        RecordingError: the folder cannot be read, or ``out`` cannot be written.
    """
    timeline = load(folder)
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
    partial = out.with_name(out.name + ".part")
    try:
        _check_disk_space(frames, out.parent)
        quota = quota_for(folder)
        with (
            quota.reserved(frames * _FRAME_BYTES + WAV_HEADER.size, keep=folder),
            Channel(_sources(folder, "user"), user, rate_hz) as left,
            Channel(_sources(folder, "agent"), agent, rate_hz) as right,
            open(partial, "wb", opener=made_anew) as file,
        ):
            file.write(wav_header(frames, rate_hz))
            pacer = Pacer()
            for start in range(0, frames, rate_hz):
                block = np.zeros((min(rate_hz, frames - start), _CHANNELS), "<i2")
                left.fill(block[:, 0], start)
                right.fill(block[:, 1], start)
                for channel, mask in enumerate(masks):
                    mask.apply(block[:, channel], start)
                if quota.exceeded:
                    raise used_up()
                file.write(block.data)
                pacer.step()
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
    return Rendered(out, frames, rate_hz, frames / rate_hz)


def _check_disk_space(frames: int, folder: Path) -> None:
    """Check that a recording fits on the disk: a damaged journal may claim a length of months.

    Raises:
        OSError: there is not enough space for so many frames.
    """
    if frames * _FRAME_BYTES > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sources(folder: Path, side: str) -> tuple[Path, Path]:
    """Return the files of a side's audio: as on the wire, and as the app reported it."""
    return folder / SOURCES[side], folder / SOURCES[f"{side}-tap"]


def wav_header(frames: int, rate_hz: int) -> bytes:
    """Return the 44 bytes of a WAV's header for 16-bit stereo.

    Sizes beyond 32 bits (after 12 hours at 24 kHz) are written as the largest 32-bit value, which
    players read as "until the end of the file".

    Args:
        frames: number of frames.
        rate_hz: sample rate.
    """
    size = frames * _FRAME_BYTES
    return WAV_HEADER.pack(
        b"RIFF",
        min(size + WAV_HEADER.size - 8, _MAX_UINT32),
        b"WAVE",
        b"fmt ",
        16,  # size of this chunk
        1,  # WAVE_FORMAT_PCM
        _CHANNELS,
        rate_hz,
        rate_hz * _FRAME_BYTES,
        _FRAME_BYTES,
        16,  # bits per sample
        b"data",
        min(size, _MAX_UINT32),
    )
