"""Finds calls: kept in a folder, or undelivered in a state directory.

A kept recording has its call object in a JSON file beside it. An undelivered call is read from its
journal, which is not changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from otel_realtime.calls.check import misfit
from otel_realtime.calls.schema import SCHEMA, VERSION, Call
from otel_realtime.delivery.keep import SIDECAR, is_remote, without_date
from otel_realtime.editing.files import KINDS
from otel_realtime.editing.find import find, header_of
from otel_realtime.errors import ConfigError, RecordingError
from otel_realtime.recording.render import render
from otel_realtime.recovery.call import call_and_about, wav_recording
from otel_realtime.state.journal import JOURNAL, SOURCES
from otel_realtime.state.owner import CONVERSATIONS, lives, owner_of

#: Media type of a recording, by its file extension.
MIMES: Final = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A call, and how to get its recording.

    Attributes:
        name: the name that its exported files are named after.
        call: the call; None if only its recording is known.
        recording: returns the path of its recording, or None without one; renders or downloads it
            into the given folder if it is not a file yet.
        unknown: why only the recording is known.
    """

    name: str
    call: Call | None
    recording: Callable[[Path], Path | None]
    unknown: str = "no JSON lies beside its recording"


def sources(what: str, recordings_dir: str | None, state_dir: Path) -> list[Source]:
    """Find calls.

    Args:
        what: a recording, the JSON beside it, a folder of either, the folder of a conversation, or a
            state directory; otherwise a conversation's thread id, trace id, run id, or file name.
        recordings_dir: where recordings are kept; None: nowhere.
        state_dir: the state directory.

    Raises:
        ConfigError: nothing is found, or the name matches several calls.
        RecordingError: a call that is found cannot be read.
    """
    path = Path(os.path.expanduser(what))
    if _is(path.is_dir) and not _is((path / JOURNAL).is_file):
        return _in_folder(path)
    if path.suffix.lower() == SIDECAR and _is(path.is_file):
        return [_of_json(path, read_call(path))]
    try:
        found = find(what, recordings_dir, state_dir)
    except ConfigError:
        described = [] if recordings_dir is None else list(_by_id(what, recordings_dir))
        if len(described) != 1:
            raise
        return [_of_json(*described[0])]
    for file in found.files:
        if _is(file.with_suffix(SIDECAR).is_file) or not found.folders:
            return [_of_recording(file)]
    folder, header = found.folders[0]
    return [of_journal(folder, header.name)]


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except (OSError, ValueError):  # an id that is not a valid path
        return False


def _in_folder(folder: Path) -> list[Source]:
    """Return all calls of a folder: the kept ones, or the undelivered ones of a state directory."""
    left = folder / CONVERSATIONS if folder.name != CONVERSATIONS else folder
    waiting = sorted(path.parent for path in left.glob(f"*/{JOURNAL}")) if _is(left.is_dir) else []
    if waiting:
        return [of_journal(one, header_of(one).name) for one in waiting]
    described = dict(_described(folder))
    found = [_of_json(path, call) for path, call in described.items()]
    stems = {path.stem for path in described}
    found += [
        _of_recording(path, among_others=True)
        for path in _files(folder)
        if path.suffix.lower() in KINDS and path.stem not in stems
    ]
    if not found:
        raise ConfigError(f"no calls in {folder}: neither recordings nor the JSON beside them")
    return sorted(found, key=lambda source: source.name)


def _files(folder: Path) -> list[Path]:
    try:
        inside = Path(os.path.expanduser(folder)).iterdir()
        return sorted(path for path in inside if path.is_file())
    except OSError:
        return []


def _described(folder: Path) -> Iterator[tuple[Path, Call]]:
    """Yield the calls whose JSON is in a folder; other JSON files there are skipped."""
    for path in _files(folder):
        if path.suffix.lower() == SIDECAR:
            with suppress(RecordingError):
                yield path, read_call(path)


def _by_id(what: str, recordings_dir: str) -> Iterator[tuple[Path, Call]]:
    """Yield the kept calls whose JSON has an id that their file names do not contain."""
    if is_remote(recordings_dir):
        return
    for path, call in _described(Path(recordings_dir)):
        named = without_date(what) == without_date(path.stem)
        if named or what in (call["id"], call["trace_id"], call["thread_id"]):
            yield path, call


def read_call(path: Path) -> Call:
    """Read a call object from a file.

    Raises:
        RecordingError: it is not a call object, or has another version.
    """
    try:
        value = parsed(path.read_bytes())
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise RecordingError(f"{path} is no JSON: {error}") from error
    return checked(value, str(path))


def parsed(data: bytes) -> Any:
    """Parse strict JSON.

    Raises:
        ValueError: it is not JSON; the message says briefly why.
    """
    try:
        return json.loads(data, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")  # Python would write it as it is


def checked(value: Any, where: str) -> Call:
    """Return a value as a call object, after checking it.

    Args:
        value: the parsed JSON.
        where: where it was read from, for the error message.

    Raises:
        RecordingError: it is not a call object, or has another version.
    """
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise RecordingError(f"{where} is no call: its schema is not {SCHEMA}")
    if value.get("version") != VERSION:
        raise RecordingError(
            f"{where} is a call of version {value.get('version')!r}: this otel-realtime reads {VERSION}"
        )
    problem = misfit(value)
    if problem is not None:
        raise RecordingError(f"{where} is no whole call: {problem}")
    return cast("Call", value)


def _of_json(path: Path, call: Call) -> Source:
    names = [path.with_suffix(suffix) for suffix in KINDS]
    told = call["recording"]
    if told is not None and Path(told["file"]).name:
        names.insert(0, path.with_name(Path(told["file"]).name))
    file = next((one for one in names if _is(one.is_file)), None)
    return Source(name=path.stem, call=call, recording=lambda _: file)


def _of_recording(file: Path, *, among_others: bool = False) -> Source:
    """Return the call of a recording.

    Args:
        file: the recording.
        among_others: it is one of several: unreadable JSON beside it is noted in ``Source.unknown``
            instead of raised.

    Raises:
        RecordingError: the JSON beside it cannot be read.
    """
    beside = file.with_suffix(SIDECAR)
    if _is(beside.is_file):
        try:
            call = read_call(beside)
        except RecordingError as error:
            if not among_others:
                raise
            return Source(name=file.stem, call=None, recording=lambda _: file, unknown=str(error))
        return Source(name=beside.stem, call=call, recording=lambda _: file)
    return Source(name=file.stem, call=None, recording=lambda _: file)


def of_journal(folder: Path, name: str) -> Source:
    """Return a call whose journal is in a state directory, or in a copy of its folder.

    Raises:
        RecordingError: the journal cannot be read.
    """
    call, about = call_and_about(folder, live=lives(folder.parent.parent, owner_of(folder)) is True)

    def recording(into: Path) -> Path | None:
        if not any(_sounds(folder)):
            return None
        rendered = render(folder, into / "recording.wav", about=about, leave_sources=True)
        call["recording"] = wav_recording(rendered.path.name, rendered.duration_s, rendered.rate_hz)
        return rendered.path

    return Source(name=name, call=call, recording=recording)


def _sounds(folder: Path) -> Iterator[Path]:
    """Yield the audio files of a conversation that are not empty."""
    for name in SOURCES.values():
        path = folder / name
        if _is(path.is_file) and path.stat().st_size:
            yield path
