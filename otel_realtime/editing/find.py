"""Finds the recordings that a name refers to: a file, or a conversation by one of its ids.

A conversation's recording may be in two places: in the app's folder of kept recordings, and in the state
directory until it is delivered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from otel_realtime.delivery.keep import is_remote, undated_name, without_date
from otel_realtime.editing.files import KINDS
from otel_realtime.errors import ConfigError, RecordingError
from otel_realtime.state.files import is_folder
from otel_realtime.state.header import Header
from otel_realtime.state.journal import JOURNAL, read
from otel_realtime.state.owner import CONVERSATIONS

#: The end of a kept recording's name: the root span's id.
_SPAN_ID: Final = re.compile(r"-([0-9a-f]{16})\Z")
#: A run id that is made from a span id: eight zero bytes, then the span id.
_RUN_ID: Final = re.compile(r"0{8}-0{4}-0{4}-([0-9a-f]{4})-([0-9a-f]{12})\Z")
#: How many recordings an error lists when a name matches several.
_NAMED: Final = 5


@dataclass(slots=True)
class Found:
    """The places of one recording.

    Attributes:
        files: the kept files.
        folders: its folder in the state directory, with its header, while it is undelivered.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[tuple[Path, Header]] = field(default_factory=list)


def find(name: str, recordings_dir: str | None, state_dir: Path) -> Found:
    """Find a recording.

    Args:
        name: path of a file, or of a conversation's folder; otherwise a conversation's thread id, trace
            id, root span id or run id, or the name of its file or folder.
        recordings_dir: where recordings are kept; None: nowhere.
        state_dir: the state directory.

    Raises:
        ConfigError: nothing is found, or more than one recording.
    """
    path = Path(os.path.expanduser(name))
    if _is_file(path):
        return Found(files=[path])
    if _is_file(path / JOURNAL):
        return Found(folders=[(path, header_of(path))])
    folders = [
        (folder, header)
        for folder, header in _undelivered(state_dir)
        if _is_meant(name, folder, header)
    ]
    # Compared without the date: the app may set the start after the journal's header was written.
    wanted = {without_date(header.name) for _, header in folders}
    files = [
        file
        for file in _kept(recordings_dir)
        if without_date(file.stem) in wanted or _is_named(name, file.stem)
    ]
    stems = {without_date(header.name): header.name for _, header in folders}
    stems |= {without_date(file.stem): file.stem for file in files}
    if len(stems) > 1:
        listed = ", ".join(list(stems.values())[:_NAMED]) + (", ..." if len(stems) > _NAMED else "")
        raise ConfigError(f"{name!r} has {len(stems)} recordings, name one of them: {listed}")
    if not stems and name.strip() and _is_folder(path):
        raise ConfigError(f"{name} is a folder: name one of its recordings")
    if not stems:
        raise ConfigError(f"no recording of {name!r}: {_looked(name, recordings_dir, state_dir)}")
    return Found(files, folders)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # an id that is too long for a file's name
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _looked(name: str, recordings_dir: str | None, state_dir: Path) -> str:
    if is_remote(recordings_dir or name):
        kept = "recordings in a bucket have to be fetched first"
    elif recordings_dir is None:
        kept = "no such file, and no folder of recordings is named (--recordings-dir)"
    else:
        kept = f"not a file, nor in {recordings_dir}"
    return f"{kept}; nothing undelivered in {state_dir}"


def _kept(recordings_dir: str | None) -> Iterator[Path]:
    if recordings_dir is None or is_remote(recordings_dir):
        return
    try:
        files = sorted(Path(os.path.expanduser(recordings_dir)).iterdir())
    except OSError:
        return
    for file in files:
        if file.suffix.lower() in KINDS and file.is_file():
            yield file


def _undelivered(state_dir: Path) -> Iterator[tuple[Path, Header]]:
    try:
        folders = sorted((state_dir / CONVERSATIONS).iterdir())
    except OSError:
        return
    for folder in folders:
        if is_folder(folder):
            try:
                yield folder, header_of(folder)
            except RecordingError:  # not a conversation that can be read, so not the one wanted
                continue


def header_of(folder: Path) -> Header:
    """Return the header of a conversation's journal.

    Raises:
        RecordingError: it has no header.
    """
    first = next(read(folder), None)
    if first is None or first[0] != "open" or len(first) < 3:
        raise RecordingError(f"the journal of {folder.name} has no header")
    return Header.from_wire(first[2])


def _is_meant(name: str, folder: Path, header: Header) -> bool:
    ids = {header.who.thread_id, f"{header.trace_id:032x}", folder.name}
    named = without_date(name) == without_date(header.name)
    return name in ids or named or _span_id(name) == header.root_span_id


def _is_named(name: str, stem: str) -> bool:
    """Return whether a kept file belongs to a conversation: its name has the thread and root span id."""
    span_id = _SPAN_ID.search(stem)
    if without_date(name) == without_date(stem) or span_id is None:
        return without_date(name) == without_date(stem)
    number = int(span_id[1], 16)
    return without_date(stem) == undated_name(name, number) or _span_id(name) == number


def _span_id(name: str) -> int | None:
    """Return the root span id in a span id or run id; None if the name is neither."""
    run = _RUN_ID.match(name)
    digits = run[1] + run[2] if run else name
    return int(digits, 16) if re.fullmatch("[0-9a-f]{16}", digits) else None
