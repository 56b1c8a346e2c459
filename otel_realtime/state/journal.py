"""The folder of one conversation: a journal and the audio of each side as received.

``journal.jsonl`` holds one JSON array ``[kind, t, ...]`` a line, the first one
``["open", 0, {header}]``. ``user.raw``, ``agent.raw`` and, where the app gives what it hears or
plays, ``user-tap.raw`` and ``agent-tap.raw`` are append-only; formats stand in the journal. A line
is written only after the audio it speaks of, so whatever a crash leaves behind is a valid prefix; a
torn last line is left out.
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
"""Files of sound: each side as it was on the wire, and as the app itself gave it."""
_FILES: Final = {"journal": JOURNAL, **SOURCES}
_BLOCK: Final = 1 << 13  # some 200 records at once: too few to start a garbage collection
#: The longest note; a frame of megabytes is not worth its place.
NOTE_BYTES: Final = 1_000_000
#: A line that is longer is no record.
_LINE_BYTES: Final = 32 * NOTE_BYTES
#: No record is later (104 days), nor later than this after its journal's last change (an hour, for
#: clocks that disagree): whatever is made of a journal is as long as its latest record says.
LATEST_NS: Final = 1 << 53
_SLACK_NS: Final = 3_600 * 10**9
_STARTS: Final = frozenset({"open", "start"})
#: What a record of the wrong shape raises in a timeline or a state machine.
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
    """One record as a line of the journal; what is no JSON value is written as its text."""
    try:
        text = _encode(record)
    except BaseException as error:  # noqa: BLE001 - an app's object, or a number that JSON does not hold
        let_through(error)
        text = _encode(_mended(record))
    return text.encode() + b"\n"


def _mended(value: object, room: int = MAX_DEPTH) -> object:
    """A copy that JSON can hold: what cannot be said of it is null, what is too deep is cut."""
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
    """A record of the trace's own as a line; what is huge is shortened from within."""
    text = line([kind, t, data])
    if len(text) <= NOTE_BYTES:
        return text
    return b"[%s,%d,%s]\n" % (_encode(kind).encode(), t, dump(data, NOTE_BYTES).encode())


class Folder:
    """Writes one conversation to disk; used by one thread.

    Raises:
        OSError: from every method, when the disk says no.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        self.path = path
        self._paths = {name: str(path / file) for name, file in _FILES.items()}
        # A file that somebody deleted is not made again: it would lack its beginning.
        self._made: set[str] = set()
        self._quota = quota_for(path)
        self._append("journal", b"")

    def write(self, audio: dict[str, list[bytes]], lines: list[bytes]) -> bool:
        """Append audio by side, then the lines that speak of it.

        Returns:
            ``False`` if there was no room for the audio within ``state_max_mb``; where it should be
            is silence then.
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
        """Close what is open; the files stay."""
        DESCRIPTORS.close(self._paths.values())

    def _append(self, name: str, data: bytes) -> None:
        DESCRIPTORS.append(self._paths[name], data, create=name not in self._made)
        self._made.add(name)


def read(folder: Path) -> Iterator[list[Any]]:
    """The records of a journal in order; torn or foreign lines, and impossible times, are left out.

    Raises:
        RecordingError: there is no journal that can be read.
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
    """When the conversation starts, by a record that should say so; 0 if it does not."""
    data = record[2] if len(record) > 2 else None
    found = data.get("start_ns") if isinstance(data, dict) else None
    return found if type(found) is int else 0


def _lines(journal: IO[bytes]) -> Iterator[list[bytes]]:
    """All lines, some at once; one that is too long comes as one that cannot be read."""
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
    """Whether not even the first line of a journal was written to its end.

    Raises:
        OSError: there is no journal that can be read.
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
