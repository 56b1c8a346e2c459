"""Which events tell something about audio, and the journal record each becomes.

Events are read defensively: whatever does not have the expected shape tells nothing. A record is
a list ``[kind, t, ...]`` of JSON values, ``t`` in ns since the conversation's start.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_realtime.core.audio.formats import PCM16, AudioFormat, parse_format

Record = list[Any]
_LONGEST_MS: Final = 10**9
_ABOUT_TRUNCATING: Final = re.compile(r"truncat|already shorter|audio_end_ms", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Request:
    """A client event that the server may still refuse."""

    event_id: str | None
    item_id: str


@dataclass(frozen=True, slots=True)
class _Update:
    """A client's ``session.update`` that the server has not answered yet."""

    event_id: str | None
    format: AudioFormat | None  # of the input, if it asks for one


def _is_about(request: _Request, message: str) -> bool:
    """Whether an error's text speaks of truncating or names the item."""
    item = rf"(?<!\w){re.escape(request.item_id)}(?!\w)"
    return bool(_ABOUT_TRUNCATING.search(message) or re.search(item, message))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _milliseconds(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return None
    return int(min(max(value, 0), _LONGEST_MS))


def _index(value: object) -> int:
    return value if type(value) is int and 0 <= value < 1_000 else 0


def _session_format(session: Mapping[str, Any], side: str) -> AudioFormat | None:
    """GA: ``audio.input.format``; beta: ``input_audio_format``."""
    nested = _mapping(_mapping(session.get("audio")).get(side)).get("format")
    return parse_format(nested if nested is not None else session.get(f"{side}_audio_format"))


def _turn_detection(session: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = _mapping(_mapping(session.get("audio")).get("input")).get("turn_detection")
    return _mapping(nested if nested is not None else session.get("turn_detection"))


class Evidence:
    """Turns events into records; keeps what is needed to read later events."""

    def __init__(self) -> None:
        self._interrupts = True
        self._formats = {"user": PCM16, "agent": PCM16}
        self._confirmed = dict(self._formats)  # what the session says, for the user and the agent
        self._updates: deque[_Update] = deque(maxlen=64)
        self._requests: deque[_Request] = deque(maxlen=64)
        self._sessions = 0

    def records(self, t: int, sent: bool, event: Mapping[str, Any]) -> list[Record]:
        """What an event (``sent`` by the client or received) means for the recording."""
        kind = event.get("type")
        rule = _RULES.get((sent, kind)) if isinstance(kind, str) else None
        return [] if rule is None else rule(self, t, event)

    # --- session --------------------------------------------------------------------------------

    def _session_created(self, t: int, event: Mapping[str, Any]) -> list[Record]:
        self._sessions += 1
        reset: list[Record] = [["reset", t]] if self._sessions > 1 else []
        return reset + self._session(t, event)

    def _session_updated(self, t: int, event: Mapping[str, Any]) -> list[Record]:
        if self._updates:
            answered = self._updates.popleft()
            self._confirmed["user"] = answered.format or self._confirmed["user"]
        return self._session(t, event)

    def _session(self, t: int, event: Mapping[str, Any]) -> list[Record]:
        session = _mapping(event.get("session"))
        self._interrupts = _turn_detection(session).get("interrupt_response") is not False
        for side, name in (("user", "input"), ("agent", "output")):
            self._confirmed[side] = _session_format(session, name) or self._confirmed[side]
        return self._output(t, self._confirmed["agent"]) + self._input(t)

    def _session_update(self, t: int, event: Mapping[str, Any]) -> list[Record]:
        """The input's format changes with what the client sends from here on."""
        asked = _session_format(_mapping(event.get("session")), "input")
        self._updates.append(_Update(_text(event.get("event_id")), asked))
        return self._input(t)

    def _response_created(self, t: int, event: Mapping[str, Any]) -> list[Record]:
        """A response may have a format of its own; it holds for the response only."""
        own = _session_format(_mapping(event.get("response")), "output")
        return self._output(t, own or self._confirmed["agent"])

    def _input(self, t: int) -> list[Record]:
        """What the client sends: what it asked for last, else what the session says."""
        asked = [update.format for update in self._updates if update.format is not None]
        return self._format(t, "user", asked[-1] if asked else self._confirmed["user"])

    def _output(self, t: int, value: AudioFormat) -> list[Record]:
        return self._format(t, "agent", value)

    def _format(self, t: int, side: str, value: AudioFormat) -> list[Record]:
        if value == self._formats[side]:
            return []
        self._formats[side] = value
        return [["format", t, side, value.to_wire()]]

    # --- cuts -----------------------------------------------------------------------------------

    def _truncate(self, t: int, event: Mapping[str, Any]) -> list[Record]:
        item, end_ms = _text(event.get("item_id")), _milliseconds(event.get("audio_end_ms"))
        if item is None or end_ms is None:
            return []
        event_id = _text(event.get("event_id"))
        self._requests.append(_Request(event_id, item))
        return [["truncate", t, item, _index(event.get("content_index")), end_ms, event_id]]

    def _truncated(self, t: int, event: Mapping[str, Any]) -> list[Record]:
        item, end_ms = _text(event.get("item_id")), _milliseconds(event.get("audio_end_ms"))
        if item is None or end_ms is None:
            return []
        self._answered(item)
        return [["truncated", t, item, _index(event.get("content_index")), end_ms]]

    def _delete(self, t: int, event: Mapping[str, Any]) -> list[Record]:
        item, event_id = _text(event.get("item_id")), _text(event.get("event_id"))
        if item is None:
            return []
        self._requests.append(_Request(event_id, item))
        return [["delete", t, item, event_id]]

    def _deleted(self, t: int, event: Mapping[str, Any]) -> list[Record]:
        item = _text(event.get("item_id"))
        if item is None:
            return []
        self._answered(item)
        return [["deleted", t, item]]

    def _answered(self, item_id: str) -> None:
        for request in self._requests:
            if request.item_id == item_id:
                self._requests.remove(request)
                return

    def _error(self, t: int, event: Mapping[str, Any]) -> list[Record]:
        error = _mapping(event.get("error"))
        event_id = _text(error.get("event_id"))
        if event_id is not None:
            return self._refused_update(t, event_id) + self._refused(t, event_id)
        # An error names no event when the client gave it no id.
        if (_text(error.get("param")) or "").partition(".")[0] == "session":
            return self._refused_update(t, None)
        message = _text(error.get("message")) or ""
        for request in self._requests:
            if request.event_id is None and _is_about(request, message):
                self._requests.remove(request)
                return [["refused", t, None, request.item_id]]
        return []

    def _refused(self, t: int, event_id: str) -> list[Record]:
        for request in self._requests:
            if request.event_id == event_id:
                self._requests.remove(request)
                return [["refused", t, event_id, request.item_id]]
        return []

    def _refused_update(self, t: int, event_id: str | None) -> list[Record]:
        for update in self._updates:
            if update.event_id == event_id:
                self._updates.remove(update)
                return self._input(t)
        return []

    def _speech_started(self, t: int, event: Mapping[str, Any]) -> list[Record]:
        return [["speech", t, self._interrupts]]

    def _buffer(self, t: int, event: Mapping[str, Any]) -> list[Record]:
        what = str(event["type"]).rpartition(".")[2]
        return [["buffer", t, what, _text(event.get("response_id"))]]

    def _clear(self, t: int, event: Mapping[str, Any]) -> list[Record]:
        return [["clear", t]]


_Rule = Callable[[Evidence, int, Mapping[str, Any]], list[Record]]
_RULES: Final[Mapping[tuple[bool, str], _Rule]] = {
    (False, "session.created"): Evidence._session_created,
    (False, "session.updated"): Evidence._session_updated,
    (True, "session.update"): Evidence._session_update,
    (False, "transcription_session.created"): Evidence._session_created,
    (False, "transcription_session.updated"): Evidence._session_updated,
    (True, "transcription_session.update"): Evidence._session_update,
    (False, "response.created"): Evidence._response_created,
    (True, "conversation.item.truncate"): Evidence._truncate,
    (False, "conversation.item.truncated"): Evidence._truncated,
    (True, "conversation.item.delete"): Evidence._delete,
    (False, "conversation.item.deleted"): Evidence._deleted,
    (False, "error"): Evidence._error,
    (False, "input_audio_buffer.speech_started"): Evidence._speech_started,
    (False, "output_audio_buffer.started"): Evidence._buffer,
    (False, "output_audio_buffer.stopped"): Evidence._buffer,
    (False, "output_audio_buffer.cleared"): Evidence._buffer,
    (True, "output_audio_buffer.clear"): Evidence._clear,
}
EVENTS: Final = frozenset(kind for _, kind in _RULES)
"""Types of the events that the recording must see, sent or received."""
