"""Silences the recording of a conversation that a dead process left undelivered.

The recording will be rendered later, possibly again. So the stretch is noted in the journal for the
delivery, and it is overwritten in the audio files that already exist.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from otel_realtime.core.audio.redactions import Stretch
from otel_realtime.core.audio.timeline import Timeline
from otel_realtime.editing.files import silence
from otel_realtime.errors import RecordingError
from otel_realtime.recording.blank import blank_sources
from otel_realtime.recording.render import load
from otel_realtime.state import owner
from otel_realtime.state.files import for_overwriting
from otel_realtime.state.journal import JOURNAL, line

#: The recording if it was already rendered, and the files encoded from it as attachments.
_WAV: Final = "conversation.wav"
_ENCODED: Final = ("conversation.flac", "conversation.ogg")


def silence_undelivered(folder: Path, stretch: Stretch) -> Stretch:
    """Silence a stretch of a recording that waits for its delivery.

    Args:
        folder: the conversation's folder.
        stretch: what to silence.

    Returns:
        The stretch that was silenced, cut off at the end of the recording.

    Raises:
        RecordingError: its process is still running, or the recording cannot be read or written, or has
            no such stretch.
    """
    state_dir = folder.parent.parent
    if folder.parent.name != owner.CONVERSATIONS:  # a copy, which no process owns
        return _silence(folder, stretch)
    try:
        with owner.taken_over(state_dir, owner.owner_of(folder)) as taken:
            if not taken:
                raise RecordingError(
                    f"{folder.name} belongs to a process that lives, or is being delivered: while "
                    "the call goes on, call.redact_audio() silences it"
                )
            return _silence(folder, stretch)
    except OSError as error:
        raise RecordingError(f"cannot silence {folder}: {error.strerror or error}") from error


def _silence(folder: Path, stretch: Stretch) -> Stretch:
    timeline = load(folder)
    if stretch.start_ns >= timeline.length_ns:
        raise RecordingError(
            f"the recording of {folder.name} is only {timeline.length_ns / 1e9:.3f} s long"
        )
    end_ns = min(stretch.end_ns, timeline.length_ns)
    clipped = Stretch(stretch.start_ns, end_ns, stretch.side, stretch.how, stretch.why)
    _note(folder, timeline, clipped)
    blank_sources(folder, load(folder))
    for name in _ENCODED:
        (folder / name).unlink(missing_ok=True)
    if (folder / _WAV).is_file():
        silence(folder / _WAV, clipped)
    return clipped


def _note(folder: Path, timeline: Timeline, stretch: Stretch) -> None:
    """Append the stretch to the journal, whose last line may be incomplete."""
    about = [stretch.start_ns, stretch.end_ns, stretch.side, stretch.how, stretch.why]
    record = line(["redact", timeline.last_t, *about])
    descriptor = for_overwriting(folder / JOURNAL)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.pwrite(descriptor, b"\n" + record if torn else record, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
