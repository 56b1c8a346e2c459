"""Where a call may be: kept, undelivered in a state directory, or in a sandbox.

A recording that was kept has its call object beside it. One that waits for its delivery is read from its
journal, which stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from otel_realtime.calls.schema import SCHEMA, VERSION, Call
from otel_realtime.delivery.keep import SIDECAR, is_remote, without_date
from otel_realtime.editing.files import KINDS
from otel_realtime.editing.find import find
from otel_realtime.errors import ConfigError, RecordingError
from otel_realtime.recording.render import render
from otel_realtime.recovery.call import call_in, wav_recording
from otel_realtime.state.journal import JOURNAL, SOURCES
from otel_realtime.state.owner import lives, owner_of

#: Media type of a recording, by its extension.
MIMES: Final = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
}
#: How many calls are named where a name means several.
_NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A call, and how to get its recording.

    Attributes:
        name: what files of it are called after.
        call: the call; None if nothing but its recording is known.
        recording: returns where its recording is, made in the given folder if it is no file yet; None
            if there is none.
    """

    name: str
    call: Call | None
    recording: Callable[[Path], Path | None]


def sources(what: str, recordings_dir: str | None, state_dir: Path) -> list[Source]:
    """Find calls.

    Args:
        what: a recording, the JSON beside it, a folder of either, the folder of a conversation; else a
            conversation's thread id, trace id, run id, or the name of its file.
        recordings_dir: where recordings are kept; None: nowhere.
        state_dir: the state directory.

    Raises:
        ConfigError: nothing is found, or several calls are meant.
        RecordingError: what is found cannot be read.
    """
    path = Path(what).expanduser()
    if _is(path.is_dir) and not _is((path / JOURNAL).is_file):
        return _in_folder(path)
    if path.suffix.lower() == SIDECAR and _is(path.is_file):
        return [_of_json(path)]
    by_id = [] if recordings_dir is None else list(_by_id(what, recordings_dir))
    if len(by_id) > 1:
        names = ", ".join(one.stem for one in by_id[:_NAMED])
        more = ", ..." if len(by_id) > _NAMED else ""
        raise ConfigError(f"{what!r} is {len(by_id)} calls, name one of them: {names}{more}")
    if by_id:
        return [_of_json(by_id[0])]
    found = find(what, recordings_dir, state_dir)
    for file in found.files:
        if _is(file.with_suffix(SIDECAR).is_file) or not found.folders:
            return [_of_recording(file)]
    folder, header = found.folders[0]
    return [of_journal(folder, header.name)]


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except (OSError, ValueError):  # an id that is no path
        return False


def _in_folder(folder: Path) -> list[Source]:
    """Return all calls that were kept in a folder."""
    described = {path.stem: path for path in _files(folder) if _holds_call(path)}
    found = [_of_json(path) for path in described.values()]
    found += [
        _of_recording(path)
        for path in _files(folder)
        if path.suffix.lower() in KINDS and path.stem not in described
    ]
    if not found:
        raise ConfigError(f"no calls in {folder}: neither recordings nor the JSON beside them")
    return sorted(found, key=lambda source: source.name)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.expanduser().iterdir() if path.is_file())
    except (OSError, RuntimeError):  # RuntimeError: the home of nobody
        return []


def _by_id(what: str, recordings_dir: str) -> Iterator[Path]:
    """Yield the kept calls that an id means: what the names of files do not say."""
    if is_remote(recordings_dir):
        return
    for path in _files(Path(recordings_dir)):
        if path.suffix == SIDECAR and without_date(what) == without_date(path.stem):
            yield path
        elif _holds_call(path):
            call = read_call(path)
            if what in (call["id"], call["trace_id"], call["thread_id"]):
                yield path


def _holds_call(path: Path) -> bool:
    """Return whether a file is the JSON of a call: a folder may hold any other JSON."""
    if path.suffix.lower() != SIDECAR:
        return False
    try:
        read_call(path)
    except RecordingError:
        return False
    return True


def read_call(path: Path) -> Call:
    """Read a call object from a file.

    Raises:
        RecordingError: it is none, or one of a later version.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise RecordingError(f"cannot read {path}: {error}") from error
    return checked(value, str(path))


def checked(value: Any, where: str) -> Call:
    """Return a call object.

    Args:
        value: what was read.
        where: where it was, for the error.

    Raises:
        RecordingError: it is none, or one of a later version.
    """
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise RecordingError(f"{where} is no call: its schema is not {SCHEMA}")
    if value.get("version") != VERSION:
        raise RecordingError(
            f"{where} is a call of version {value.get('version')!r}: this otel-realtime reads {VERSION}"
        )
    missing = Call.__required_keys__ - value.keys()
    if missing:
        raise RecordingError(f"{where} is no whole call: {', '.join(sorted(missing))} is missing")
    return cast("Call", value)


def _of_json(path: Path) -> Source:
    call = read_call(path)
    names = [path.with_suffix(suffix) for suffix in KINDS]
    told = call["recording"]
    if told is not None:
        names.insert(0, path.with_name(Path(told["file"]).name))
    file = next((one for one in names if one.is_file()), None)
    return Source(name=path.stem, call=call, recording=lambda _: file)


def _of_recording(file: Path) -> Source:
    beside = file.with_suffix(SIDECAR)
    if _is(beside.is_file):
        source = _of_json(beside)
        return Source(name=source.name, call=source.call, recording=lambda _: file)
    return Source(name=file.stem, call=None, recording=lambda _: file)


def of_journal(folder: Path, name: str) -> Source:
    """Return a call whose journal is in a state directory, or in a copy of its folder.

    Raises:
        RecordingError: the journal cannot be read.
    """
    call = call_in(folder, live=lives(folder.parent.parent, owner_of(folder)) is True)

    def recording(into: Path) -> Path | None:
        if not any(_sounds(folder)):
            return None
        rendered = render(folder, into / "recording.wav", leave_sources=True)
        call["recording"] = wav_recording(rendered.path.name, rendered.duration_s, rendered.rate_hz)
        return rendered.path

    return Source(name=name, call=call, recording=recording)


def _sounds(folder: Path) -> Iterator[Path]:
    """Yield the files of a conversation that hold sound."""
    for name in SOURCES.values():
        path = folder / name
        if _is(path.is_file) and path.stat().st_size:
            yield path
