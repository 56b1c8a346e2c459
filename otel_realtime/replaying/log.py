"""Reads event logs: files of JSON lines, each with one event of a Realtime connection.

A row is ``{"dir": "recv", "event": {...}, "t_ms": 1234}``. ``dir`` is ``recv`` for an event from the
server and ``sent`` for an event to it; ``t_ms`` is the time in milliseconds since the first row, and may
be missing. A row may also be the event itself; then its type says who sent it:
https://platform.openai.com/docs/api-reference/realtime-client-events
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from otel_realtime.core.protocol.dialects import is_known

#: File extensions of logs in a folder.
LOGS: Final = (".jsonl", ".ndjson")
#: Value of ``dir`` -> whether the client sent the event.
DIRECTIONS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("recv", "received", "in", "server"), False),
    **dict.fromkeys(("sent", "send", "out", "client"), True),
}
#: All client events; every other known event type is a server event.
CLIENT_EVENTS: Final = frozenset(
    {
        "session.update",
        "transcription_session.update",
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "input_audio_buffer.clear",
        "output_audio_buffer.clear",
        "conversation.item.create",
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "conversation.item.delete",
        "response.create",
        "response.cancel",
        # Live sessions and live translation; events that a sideband repeats need a ``dir``.
        "session.start",
        "session.close",
        "session.input_audio.append",
        "session.input_audio.mute",
        "session.input_audio.unmute",
        "session.input_audio_buffer.append",
        "session.instructions.append",
        "session.thinking.append",
        "session.commentary.append",
        "session.output_audio.fixture.play",
        "response.item.create",
        "decision.create",
        "decision.item.create",
        "decision.item.delete",
    }
)
#: Longest log, ms, which the clock of a conversation can still represent.
_LONGEST_MS: Final = 10**10


@dataclass(frozen=True, slots=True)
class Row:
    """One event of a log.

    Attributes:
        line: its line number in the file, from 1.
        sent: whether the client sent it.
        kind: its type.
        event: the event.
        t_ms: its time, ms since the first row; None if the row has none.
    """

    line: int
    sent: bool
    kind: str
    event: Mapping[str, Any]
    t_ms: float | None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A line that is not an event.

    Attributes:
        line: its number, from 1.
        why: what is wrong with it.
    """

    line: int
    why: str


def rows(path: Path) -> Iterator[Row | BadRow]:
    """Yield the rows of a log, one for each line that is not blank.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            text = raw.removeprefix(b"\xef\xbb\xbf").strip() if line == 1 else raw.strip()
            if text:
                yield _row(line, text)


def _row(line: int, raw: bytes) -> Row | BadRow:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        return BadRow(line, f"not JSON: {_reason(error)}")
    if not isinstance(value, dict):
        return BadRow(line, f"not an object but {_kind_of(value)}")
    event = value.get("event") if "event" in value and "type" not in value else value
    if isinstance(event, str):  # the frame as JSON text
        try:
            event = json.loads(event)
        except (ValueError, RecursionError) as error:
            return BadRow(line, f"its event is not JSON: {_reason(error)}")
    if not isinstance(event, dict):
        return BadRow(line, f"its event is not an object but {_kind_of(event)}")
    kind = event.get("type")
    if not isinstance(kind, str) or not kind:
        return BadRow(line, "its event has no type")
    t_ms = value.get("t_ms")
    if t_ms is not None and not _is_time(t_ms):
        return BadRow(line, f"t_ms is {t_ms!r}: milliseconds since the first row are wanted")
    if event is value:
        event = {key: one for key, one in value.items() if key not in {"dir", "t_ms"}}
    sent = _is_sent(value.get("dir"), kind)
    if isinstance(sent, str):
        return BadRow(line, sent)
    return Row(line, sent, kind, event, t_ms)


def _is_sent(direction: object, kind: str) -> bool | str:
    """Return whether the client sent an event, or why this is unknown."""
    if direction is not None:
        found = DIRECTIONS.get(direction.lower()) if isinstance(direction, str) else None
        return f"dir is {direction!r}: recv or sent is wanted" if found is None else found
    if kind in CLIENT_EVENTS:
        return True
    if is_known({"type": kind}):
        return False
    return f"the type {kind!r} does not say who sent it: add dir, recv or sent"


def _is_time(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= _LONGEST_MS  # type: ignore[arg-type, operator]


def _kind_of(value: object) -> str:
    names = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
