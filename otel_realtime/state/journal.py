"""The folder of one conversation: a journal, and the audio of each side as received.

``journal.jsonl`` holds one JSON array ``[kind, t, ...]`` per line; the first one is
``["open", 0, {header}]``. ``user.raw``, ``agent.raw`` and, if the app provides the audio that it hears
or plays, ``user-tap.raw`` and ``agent-tap.raw`` are append-only; their formats are in the journal. A
line is written only after the audio it refers to, so a crash always leaves a valid prefix; a torn last
line is ignored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import IO, Any, Final

from otel_realtime.core.protocol.events import MAX_DEPTH, TOO_DEEP
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.json_values import safe_str
from otel_realtime.errors import RecordingError
from otel_realtime.interrupts import let_through
from otel_realtime.state.descriptors import DESCRIPTORS
from otel_realtime.state.files import descriptor_of
from otel_realtime.state.quota import SOUND, quota_for, used_up

JOURNAL: Final = "journal.jsonl"
SOURCES: Final = {
    "user": "user.raw",
    "agent": "agent.raw",
    "user-tap": "user-tap.raw",
    "agent-tap": "agent-tap.raw",
}
"""Audio files: each side as it was on the wire, and as the app itself provided it."""
_FILES: Final = {"journal": JOURNAL, **SOURCES}
_BLOCK: Final = 1 << 13  # about 200 records at once: too few to start a garbage collection
#: Maximum size of a note; a frame of several megabytes is not worth the space.
NOTE_BYTES: Final = 1_000_000
#: A longer line is not a record.
_LINE_BYTES: Final = 32 * NOTE_BYTES
#: No record is later than this (104 days), nor later than an hour after its journal's last change (the
#: hour allows for clocks that disagree): anything built from a journal lasts until its latest record.
LATEST_NS: Final = 1 << 53
_SLACK_NS: Final = 3_600 * 10**9
_STARTS: Final = frozenset({"open", "start"})
#: Exceptions that a record of the wrong shape raises in a timeline or a state machine.
MALFORMED: Final = (
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
)
_HEAD: Final = b'["open",0,{'
_encode = json.JSONEncoder(separators=(",", ":"), default=str, allow_nan=False).encode


def line(record: Sequence[Any]) -> bytes:
    """Return a record as a line of the journal; a value that is not JSON is written as its text."""
    try:
        text = _encode(record)
    except BaseException as error:  # noqa: BLE001 - an app's object, or a number that JSON does not hold
        let_through(error)
        text = _encode(_mended(record))
    return text.encode() + b"\n"


def _mended(value: object, room: int = MAX_DEPTH) -> object:
    """Return a copy that JSON can hold: NaN and infinity become null, deep nesting is cut."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping | list | tuple) and not room:
        return TOO_DEEP
    if isinstance(value, Mapping):
        return {safe_str(key): _mended(item, room - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(item, room - 1) for item in value]
    text = safe_str(value)
    return value if isinstance(value, int) and text is not None else text


def note_line(kind: str, t: int, data: Mapping[str, Any]) -> bytes:
    """Return a record of the trace as a line; the values of a huge record are shortened."""
    text = line([kind, t, data])
    if len(text) <= NOTE_BYTES:
        return text
    return b"[%s,%d,%s]\n" % (_encode(kind).encode(), t, dump(data, NOTE_BYTES).encode())


class Folder:
    """Writes one conversation to disk; used by one thread.

    Raises:
        OSError: from every method, if the disk fails.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        self.path = path
        self._paths = {name: str(path / file) for name, file in _FILES.items()}
        # A file that was deleted is not created again, because its beginning would be missing.
        self._made: set[str] = set()
        self._quota = quota_for(path)
        self._append("journal", b"")

    def write(self, audio: dict[str, list[bytes]], lines: list[bytes]) -> bool:
        """Append audio by side, then the lines that refer to it.

        Returns:
            ``False`` if there was no room for the audio within ``state_max_mb``; silence then takes
            its place.
        """
        sound = {side: b"".join(pieces) for side, pieces in audio.items() if pieces}
        fits = not sound or self._quota.take(sum(map(len, sound.values())), SOUND)
        if fits:
            for side, data in sound.items():
                self._append(side, data)
        if lines:
            data = b"".join(lines)
            if not self._quota.take(len(data)):
                raise used_up()
            self._append("journal", data)
        return fits

    def close(self) -> None:
        """Close the open descriptors; the files remain."""
        DESCRIPTORS.close(self._paths.values())

    def _append(self, name: str, data: bytes) -> None:
        DESCRIPTORS.append(self._paths[name], data, create=name not in self._made)
        self._made.add(name)


def read(folder: Path) -> Iterator[list[Any]]:
    """Yield the records of a journal in order, without torn or foreign lines and impossible times.

    Raises:
        RecordingError: there is no readable journal.
    """
    try:
        with open(descriptor_of(folder / JOURNAL), "rb") as journal:
            changed_ns, latest = os.fstat(journal.fileno()).st_mtime_ns, LATEST_NS
            for lines in _lines(journal):
                for record in _parse(lines):
                    if record[0] in _STARTS:
                        latest = max(changed_ns - _start_ns(record), 0) + _SLACK_NS
                    if record[1] <= latest:
                        yield record
    except OSError as error:
        raise RecordingError(f"the journal of {folder} cannot be read: {error}") from error


def _start_ns(record: list[Any]) -> int:
    """Return the conversation's start from a record that should contain it; 0 if it does not."""
    data = record[2] if len(record) > 2 else None
    found = data.get("start_ns") if isinstance(data, dict) else None
    return found if type(found) is int else 0


def _lines(journal: IO[bytes]) -> Iterator[list[bytes]]:
    """Yield all lines, several at a time; one that is too long is replaced by an unreadable one."""
    rest = bytearray()
    while block := journal.read(_BLOCK):
        *lines, tail = block.split(b"\n")
        if lines:
            lines[0] = bytes(rest) + lines[0]
            rest.clear()
            yield lines
        rest += tail
        if len(rest) > _LINE_BYTES:
            rest[:] = b"\0"
    yield [bytes(rest)]


def is_torn(folder: Path) -> bool:
    """Return whether not even the first line of a journal was written completely.

    Raises:
        OSError: there is no readable journal.
    """
    with open(descriptor_of(folder / JOURNAL), "rb") as journal:
        first = journal.readline(_LINE_BYTES)
    whole = first.endswith(b"\n") or len(first) == _LINE_BYTES
    return not whole and first[: len(_HEAD)] == _HEAD[: len(first)]


def _parse(lines: list[bytes]) -> Iterator[list[Any]]:
    try:  # one call for a whole block is several times faster
        values = _decode(b"[" + b",".join(filter(None, lines)) + b"]")
    except (ValueError, RecursionError):
        values = [_parse_line(text) for text in lines]
    for value in values:
        if _is_record(value):
            yield value


def _parse_line(text: bytes) -> object:
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        return None


def _decode(text: bytes) -> Any:
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _is_record(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= 2
        and isinstance(value[0], str)
        and type(value[1]) is int
        and 0 <= value[1] < LATEST_NS
    )
