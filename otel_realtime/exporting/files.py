"""Writes the files of an exported call."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from otel_realtime.calls.captions import srt, vtt
from otel_realtime.calls.schema import Call
from otel_realtime.calls.transcript import transcript
from otel_realtime.errors import RecordingError
from otel_realtime.exporting.audio import as_wav, clips, stale_clips
from otel_realtime.exporting.sources import Source
from otel_realtime.recovery.call import wav_recording

_WAV: Final = "recording.wav"
#: The parts that can be exported; each is a file, except ``clips``, which is a folder.
CALL: Final = "call"
RECORDING: Final = "recording"
CLIPS: Final = "clips"
_TEXTS: Final[Mapping[str, tuple[str, Callable[[Call], str]]]] = {
    "vtt": ("captions.vtt", vtt),
    "srt": ("captions.srt", srt),
    "transcript": ("transcript.txt", transcript),
}
PARTS: Final = (CALL, RECORDING, CLIPS, *_TEXTS)


@dataclass(slots=True)
class Exported:
    """The result of exporting a call.

    Attributes:
        name: the name of the call.
        folder: the folder that the files were written to.
        files: the files that were written, without the clips.
        clips: number of clips that were written.
        missing: messages about parts that could not be written, each with the reason.
    """

    name: str
    folder: Path
    files: list[Path] = field(default_factory=list)
    clips: int = 0
    missing: list[str] = field(default_factory=list)


def write(source: Source, folder: Path, parts: Collection[str]) -> Exported:
    """Write the files of a call; files of an earlier export are replaced.

    Args:
        source: the call.
        folder: the folder to write to; created if needed.
        parts: the parts to write, from ``PARTS``.

    Raises:
        OSError: the folder cannot be created, or a file in it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = Exported(source.name, folder)
    call = source.call
    with TemporaryDirectory(prefix=".export-", dir=folder) as temporary:
        wav: Path | None = None
        if not {CALL, RECORDING, CLIPS}.isdisjoint(parts):
            wav = _recording(source, done, Path(temporary), keep=RECORDING in parts)
        if call is not None and CLIPS in parts and wav is not None:
            for path in stale_clips(folder / CLIPS):
                path.unlink()
            try:
                done.clips = len(clips(wav, call, folder / CLIPS))
            except RecordingError as error:
                done.missing.append(str(error))
    if call is None:
        done.missing.append(f"the call itself is not known: {source.unknown}")
        return done
    if CALL in parts:
        _text(done, "call.json", json.dumps(call, ensure_ascii=False, indent=2) + "\n")
    for part, (name, made) in _TEXTS.items():
        if part in parts:
            _text(done, name, made(call))
    return done


def _recording(source: Source, done: Exported, temporary: Path, *, keep: bool) -> Path | None:
    """Convert the recording to a WAV, and update the call's ``recording`` member.

    Args:
        source: the call.
        done: the result so far; this function adds to it.
        temporary: a temporary folder.
        keep: whether the WAV is one of the exported files.
    """
    call = source.call
    try:
        found = source.recording(temporary)
        if found is None:
            if call is not None and call["recording"] is not None:
                done.missing.append(f"its recording is not there: {call['recording']['file']}")
                call["recording"] = None
            return None
        made = temporary / "made.wav"
        rate_hz, frames = as_wav(found, made)
    except RecordingError as error:
        done.missing.append(str(error))
        return None
    if call is not None:
        call["recording"] = wav_recording(_WAV, frames / rate_hz, rate_hz) if keep else None
    if not keep:
        return made
    target = done.folder / _WAV
    os.replace(made, target)
    done.files.append(target)
    return target


def _text(done: Exported, name: str, text: str) -> None:
    """Write a text file; it appears under its name only when it is complete."""
    path = done.folder / name
    part = path.with_name(f".{name}.part")
    part.write_bytes(text.encode("utf-8", "replace"))
    os.replace(part, path)
    done.files.append(path)
