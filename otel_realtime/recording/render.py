"""Journal and sources become one stereo WAV: left the user, right the agent.

One streaming pass, a second of sound at a time, so memory stays flat whatever the length. A folder
whose process died renders as far as its journal goes.
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

from otel_realtime.core.audio.timeline import Timeline
from otel_realtime.errors import RecordingError
from otel_realtime.recording.channel import Channel, common_rate, sample_at
from otel_realtime.recording.pacing import Pacer
from otel_realtime.recording.soundtrack import end
from otel_realtime.state.journal import MALFORMED, SOURCES, read
from otel_realtime.state.sounds import read_sound

WAV_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
_CHANNELS: Final = 2
_FRAME_BYTES: Final = 4
_MOST: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Rendered:
    """A finished recording: ``frames`` stereo samples at ``rate_hz``."""

    path: Path
    frames: int
    rate_hz: int
    duration_s: float


def load(folder: Path) -> Timeline:
    """Read a folder's journal into a finished timeline, with or without its end.

    Raises:
        RecordingError: there is no readable journal.
    """
    timeline, pacer, last_t = Timeline(), Pacer(), 0
    for record in read(folder):
        try:
            known = read_sound(record)
            if known is not None:
                timeline.apply(known)
        except MALFORMED:  # damaged, or an app's nonsense: it costs this record
            continue
        last_t = max(last_t, record[1])
        pacer.step()
    end(timeline, last_t)
    return timeline


def render(folder: Path, out: Path) -> Rendered:
    """Write the recording of a conversation's folder to ``out`` (WAV, 16 bit, stereo).

    Its rate is the highest there is: 8 kHz if both sides are G.711. The file appears under its
    name when it is whole.

    Raises:
        RecordingError: the folder cannot be read, or ``out`` cannot be written.
    """
    timeline = load(folder)
    user, agent = timeline.segments("user"), timeline.segments("agent")
    rate_hz = common_rate([*user, *agent])
    frames = sample_at(timeline.length_ns, rate_hz)
    partial = out.with_name(out.name + ".part")
    try:
        _make_sure_it_fits(frames, out.parent)
        with (
            Channel(_sources(folder, "user"), user, rate_hz) as left,
            Channel(_sources(folder, "agent"), agent, rate_hz) as right,
            open(partial, "wb", opener=_private) as file,
        ):
            file.write(wav_header(frames, rate_hz))
            pacer = Pacer()
            for start in range(0, frames, rate_hz):
                block = np.zeros((min(rate_hz, frames - start), _CHANNELS), "<i2")
                left.fill(block[:, 0], start)
                right.fill(block[:, 1], start)
                file.write(block.data)
                pacer.step()
        os.replace(partial, out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RecordingError(f"the recording of {folder} cannot be rendered: {error}") from error
    return Rendered(out, frames, rate_hz, frames / rate_hz)


def _make_sure_it_fits(frames: int, folder: Path) -> None:
    """Fill no disk for nothing: a spoiled journal may speak of months.

    Raises:
        OSError: there is no room for so many frames.
    """
    if frames * _FRAME_BYTES > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sources(folder: Path, side: str) -> tuple[Path, Path]:
    """What was on the wire, and what the app itself gave."""
    return folder / SOURCES[side], folder / SOURCES[f"{side}-tap"]


def wav_header(frames: int, rate_hz: int) -> bytes:
    """The 44 bytes before ``frames`` stereo samples of 16 bits.

    Sizes that do not fit into 32 bits (past 12 hours) are written as the largest that does, which
    players read as "until the end of the file".
    """
    size = frames * _FRAME_BYTES
    return WAV_HEADER.pack(
        b"RIFF",
        min(size + WAV_HEADER.size - 8, _MOST),
        b"WAVE",
        b"fmt ",
        16,
        1,
        _CHANNELS,
        rate_hz,
        rate_hz * _FRAME_BYTES,
        _FRAME_BYTES,
        16,
        b"data",
        min(size, _MOST),
    )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
