"""Derives journal records from the events that concern audio.

Input: every event of ``AUDIO_EVENTS``, sent or received, in order. Output: records, lists
``[kind, t, ...]`` of JSON values with ``t`` in ns since the start of the conversation. Their meaning
is documented in :mod:`otel_realtime.core.audio.timeline`. Events are read defensively: an event that
does not have the expected shape yields no record. The rules that need memory:

1. The input format changes with what the client *sends* after a ``session.update``, and changes back
   if the server refuses it. The output format changes when the server confirms it. A response may
   have an output format of its own.
2. A truncate or a delete is open until the server answers it or refuses it with an ``error``. An error
   names the ``event_id`` of the client's event. If that event had no id, the error's text must mention
   truncating or the item.
3. The session's ``interrupt_response`` decides whether ``speech_started`` stops the player.
4. A second ``session.created`` on a connection is a new server session (a reconnect): its times count
   from 0.
5. ``response.cancel`` counts once the conversation continues: with new speech (reported by the VAD,
   committed, or sent as a user message), or with a new response. The cancel of an out-of-band response
   (``"conversation": "none"``) affects nothing that plays.
6. With push to talk the client commits what it has appended as an item; the server names the item.
7. Some facts matter where the audio itself does not pass through this connection (WebRTC, SIP): the
   response of an item, the length of its text (not the text), and a response's number of audio tokens.

Sources: https://platform.openai.com/docs/api-reference/realtime-client-events/conversation/item/truncate,
https://platform.openai.com/docs/api-reference/realtime-server-events/error.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_realtime.core.audio.commits import COMMIT_EMPTY
from otel_realtime.core.audio.formats import PCM16, AudioFormat, parse_format

#: A journal record, ``[kind, t, ...]``; a JSON array, so its elements can be any JSON values.
Record = list[Any]
#: A decoded JSON object that is never modified.
JsonMapping = Mapping[str, Any]

#: Eleven days: a longer time is not a position in a call, and in ns it could overflow.
_MAX_MS: Final = 10**9
#: Types of a content part with audio: GA, and beta.
_AUDIO_PARTS: Final = frozenset({"output_audio", "audio"})
#: Texts of refusals that users have reported: "Audio content of Xms is already shorter than Yms", "Only
#: model output audio messages can be truncated".
_ABOUT_TRUNCATING: Final = re.compile(r"truncat|already shorter|audio_end_ms", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Request:
    """A truncate or delete that the server may still refuse."""

    event_id: str | None
    item_id: str


@dataclass(frozen=True, slots=True)
class _Update:
    """A ``session.update`` that the server has not answered; ``format`` is that of the input, if any."""

    event_id: str | None
    format: AudioFormat | None


def _concerns(message: str, request: _Request) -> bool:
    """Return whether an error's text mentions truncating or the request's item."""
    # ``item_1`` must not be found in ``item_12``.
    item = rf"(?<!\w){re.escape(request.item_id)}(?!\w)"
    return bool(_ABOUT_TRUNCATING.search(message) or re.search(item, message))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _without_nulls(fields: list[Any]) -> list[Any]:
    """Return the fields without trailing nulls."""
    while fields and fields[-1] is None:
        fields.pop()
    return fields


def _mapping(value: object) -> JsonMapping:
    return value if isinstance(value, Mapping) else {}


def _milliseconds(value: object) -> int | None:
    # ``True`` is an ``int``; NaN, which Python's JSON decoder accepts, differs from itself.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return None
    return int(min(max(value, 0), _MAX_MS))


def _count(value: object) -> int:
    """Return a number of tokens; 0 if the value is not a valid number."""
    return value if type(value) is int and 0 <= value <= _MAX_MS else 0


def _audio_text(item: JsonMapping) -> str | None:
    """Return the transcript of an item's audio, empty if it has none yet; None without audio."""
    content = item.get("content")
    parts = [_mapping(part) for part in content] if isinstance(content, list) else []
    spoken = [part for part in parts if _text(part.get("type")) in _AUDIO_PARTS]
    texts = (_text(part.get("transcript")) or "" for part in spoken)
    return "".join(texts) if spoken else None


def _content_index(value: object) -> int:
    return value if type(value) is int and 0 <= value < 1_000 else 0


def _session_format(session: JsonMapping, direction: str) -> AudioFormat | None:
    """Return a format that a session names.

    ``audio.input.format``, ``input_audio_format`` (beta), ``audio.format`` of both (Live sessions).
    """
    audio = _mapping(session.get("audio"))
    places = (
        _mapping(audio.get(direction)).get("format"),
        session.get(f"{direction}_audio_format"),
        audio.get("format"),
    )
    return parse_format(next((value for value in places if value is not None), None))


def _turn_detection(session: JsonMapping) -> JsonMapping:
    nested = _mapping(_mapping(session.get("audio")).get("input")).get("turn_detection")
    return _mapping(nested if nested is not None else session.get("turn_detection"))


def _paddings(detection: JsonMapping) -> tuple[int | None, int | None]:
    """Return the padding that server VAD adds before and after speech, in ms; None for semantic VAD."""
    if detection.get("type", "server_vad") != "server_vad":
        return None, None
    before, after = detection.get("prefix_padding_ms"), detection.get("silence_duration_ms")
    return _milliseconds(before), _milliseconds(after)


class Evidence:
    """Derives records from events, and keeps the state that later events need."""

    def __init__(self) -> None:
        self._interrupts = True
        self._paddings: tuple[int | None, int | None] = (None, None)  # of the VAD, in ms
        self._formats = {"user": PCM16, "agent": PCM16}  # as last recorded
        self._confirmed = dict(self._formats)  # as the session states them
        # Bounded, so that they do not grow for ever if a server never answers.
        self._updates: deque[_Update] = deque(maxlen=64)
        self._requests: deque[_Request] = deque(maxlen=64)
        self._sessions = 0
        self._commits: deque[str | None] = deque(maxlen=64)  # event ids
        self._cancelled = False  # cancelled, and the conversation has not continued yet
        self._beside: deque[str] = deque(maxlen=64)  # ids of out-of-band responses

    def records(self, t: int, sent: bool, event: JsonMapping) -> list[Record]:
        """Return the records of an event.

        Args:
            t: When it was seen, in ns since the start of the conversation.
            sent: Whether the client sent it; otherwise it was received.
            event: The event; most events yield no records.
        """
        event_type = event.get("type")
        handler = _HANDLERS.get((sent, event_type)) if isinstance(event_type, str) else None
        return [] if handler is None else handler(self, t, event)

    # --- session --------------------------------------------------------------------------------

    def regained(self) -> None:
        """Note that another connection continues: it has a new session before the server says so."""
        self._sessions = 0
        self._commits.clear()

    def _session_created(self, t: int, event: JsonMapping) -> list[Record]:
        self._sessions += 1
        reset: list[Record] = [["reset", t]] if self._sessions > 1 else []
        self._commits.clear()
        return reset + self._session(t, event)

    def _session_updated(self, t: int, event: JsonMapping) -> list[Record]:
        # The server answers updates in order, and the answer does not name the update.
        if self._updates:
            answered = self._updates.popleft()
            self._confirmed["user"] = answered.format or self._confirmed["user"]
        return self._session(t, event)

    def _session(self, t: int, event: JsonMapping) -> list[Record]:
        session = _mapping(event.get("session"))
        detection = _turn_detection(session)
        self._interrupts = detection.get("interrupt_response") is not False
        self._paddings = _paddings(detection)
        for side, direction in (("user", "input"), ("agent", "output")):
            self._confirmed[side] = _session_format(session, direction) or self._confirmed[side]
        return self._format(t, "agent", self._confirmed["agent"]) + self._input(t)

    def _session_update(self, t: int, event: JsonMapping) -> list[Record]:
        requested = _session_format(_mapping(event.get("session")), "input")
        self._updates.append(_Update(_text(event.get("event_id")), requested))
        return self._input(t)

    def _response_created(self, t: int, event: JsonMapping) -> list[Record]:
        # An output format in the response applies to this response only.
        response = _mapping(event.get("response"))
        own = _session_format(response, "output")
        out_of_band = "conversation_id" in response and response["conversation_id"] is None
        response_id = _text(response.get("id"))
        if out_of_band and response_id is not None:
            self._beside.append(response_id)
        flushed = [] if out_of_band else self._flushed(t)
        return flushed + self._format(t, "agent", own or self._confirmed["agent"])

    def _input(self, t: int) -> list[Record]:
        """Return the change to the format that the client last requested, or else to the session's."""
        requested = [update.format for update in self._updates if update.format is not None]
        return self._format(t, "user", requested[-1] if requested else self._confirmed["user"])

    def _format(self, t: int, side: str, value: AudioFormat) -> list[Record]:
        if value == self._formats[side]:
            return []
        self._formats[side] = value
        return [["format", t, side, value.to_wire()]]

    # --- truncates and deletes ------------------------------------------------------------------

    def _truncate(self, t: int, event: JsonMapping) -> list[Record]:
        item_id, end_ms = _text(event.get("item_id")), _milliseconds(event.get("audio_end_ms"))
        if item_id is None or end_ms is None:
            return []
        event_id = _text(event.get("event_id"))
        self._requests.append(_Request(event_id, item_id))
        index = _content_index(event.get("content_index"))
        return [["truncate", t, item_id, index, end_ms, event_id]]

    def _truncated(self, t: int, event: JsonMapping) -> list[Record]:
        item_id, end_ms = _text(event.get("item_id")), _milliseconds(event.get("audio_end_ms"))
        if item_id is None or end_ms is None:
            return []
        self._confirm(item_id)
        return [["truncated", t, item_id, _content_index(event.get("content_index")), end_ms]]

    def _delete(self, t: int, event: JsonMapping) -> list[Record]:
        item_id, event_id = _text(event.get("item_id")), _text(event.get("event_id"))
        if item_id is None:
            return []
        self._requests.append(_Request(event_id, item_id))
        return [["delete", t, item_id, event_id]]

    def _deleted(self, t: int, event: JsonMapping) -> list[Record]:
        item_id = _text(event.get("item_id"))
        if item_id is None:
            return []
        self._confirm(item_id)
        return [["deleted", t, item_id]]

    def _confirm(self, item_id: str) -> None:
        """Forget the oldest request about an item: the server has granted it."""
        for request in self._requests:
            if request.item_id == item_id:
                self._requests.remove(request)
                return

    def _error(self, t: int, event: JsonMapping) -> list[Record]:
        error = _mapping(event.get("error"))
        event_id = _text(error.get("event_id"))
        refused = self._refuse_commit(t, error, event_id)
        if refused:
            return refused
        if event_id is not None:
            return self._refuse_update(t, event_id) + self._refuse(t, event_id)
        # The client gave its event no id, so the error is attributed by its content.
        if (_text(error.get("param")) or "").partition(".")[0] == "session":
            return self._refuse_update(t, None)
        message = _text(error.get("message")) or ""
        for request in self._requests:
            if request.event_id is None and _concerns(message, request):
                self._requests.remove(request)
                return [["refused", t, None, request.item_id]]
        return []

    def _refuse(self, t: int, event_id: str) -> list[Record]:
        for request in self._requests:
            if request.event_id == event_id:
                self._requests.remove(request)
                return [["refused", t, event_id, request.item_id]]
        return []

    def _refuse_update(self, t: int, event_id: str | None) -> list[Record]:
        for update in self._updates:
            if update.event_id == event_id:
                self._updates.remove(update)
                return self._input(t)
        return []

    # --- cuts -----------------------------------------------------------------------------------

    def _speech_started(self, t: int, event: JsonMapping) -> list[Record]:
        start_ms = _milliseconds(event.get("audio_start_ms"))
        about: list[Any] = []
        if start_ms is not None:
            about = _without_nulls([start_ms, _text(event.get("item_id")), self._paddings[0]])
        return [*self._flushed(t), ["speech", t, self._interrupts, *about]]

    def _speech_stopped(self, t: int, event: JsonMapping) -> list[Record]:
        end_ms = _milliseconds(event.get("audio_end_ms"))
        if end_ms is None:
            return []
        about = _without_nulls([end_ms, _text(event.get("item_id")), self._paddings[1]])
        return [["speech_end", t, *about]]

    def _output_buffer(self, t: int, event: JsonMapping) -> list[Record]:
        change = str(event["type"]).rpartition(".")[2]
        return [["buffer", t, change, _text(event.get("response_id"))]]

    def _clear(self, t: int, event: JsonMapping) -> list[Record]:
        return [["clear", t]]

    def _cancel(self, t: int, event: JsonMapping) -> list[Record]:
        if event.get("response_id") in self._beside:
            return []
        self._cancelled = True
        return [["cancel", t]]

    def _message_created(self, t: int, event: JsonMapping) -> list[Record]:
        item = _mapping(event.get("item"))
        speaks = item.get("type") == "message" and item.get("role") == "user"
        return self._flushed(t) if speaks else []

    def _flushed(self, t: int) -> list[Record]:
        cancelled, self._cancelled = self._cancelled, False
        return [["flushed", t]] if cancelled else []

    # --- what the client commits ----------------------------------------------------------------

    def _commit(self, t: int, event: JsonMapping) -> list[Record]:
        self._commits.append(_text(event.get("event_id")))
        return [*self._flushed(t), ["commit", t, "sent"]]

    def _clear_input(self, t: int, event: JsonMapping) -> list[Record]:
        return [["commit", t, "cleared"]]

    def _committed(self, t: int, event: JsonMapping) -> list[Record]:
        item_id = _text(event.get("item_id"))
        if not self._commits:  # the server's VAD commits by itself
            named = [] if item_id is None else [["commit", t, "server", item_id]]
            return [*self._flushed(t), *named]
        self._commits.popleft()
        return [["commit", t, "done", item_id]]

    def _refuse_commit(self, t: int, error: JsonMapping, event_id: str | None) -> list[Record]:
        """Take back the oldest commit if the error is about one."""
        named = event_id is not None and event_id in self._commits
        if self._commits and (named or error.get("code") == COMMIT_EMPTY):
            self._commits.popleft()  # the server answers in order
            return [["commit", t, "refused"]]
        return []

    # --- what the server plays by itself --------------------------------------------------------

    def _item_announced(self, t: int, event: JsonMapping) -> list[Record]:
        response_id = _text(event.get("response_id"))
        item = _mapping(event.get("item"))
        return [] if response_id is None else self._item(t, item, response_id)

    def _item(self, t: int, item: JsonMapping, response_id: str) -> list[Record]:
        item_id, text = _text(item.get("id")), _audio_text(item)
        if item_id is None or item.get("type") != "message":
            return []
        return [["item", t, item_id, response_id, int(text is not None), len(text or "")]]

    def _audio_done(self, t: int, event: JsonMapping) -> list[Record]:
        item_id, response_id = _text(event.get("item_id")), _text(event.get("response_id"))
        if item_id is None or response_id is None:
            return []
        return [["item", t, item_id, response_id, 1, len(_text(event.get("transcript")) or "")]]

    def _response_done(self, t: int, event: JsonMapping) -> list[Record]:
        response = _mapping(event.get("response"))
        response_id, outputs = _text(response.get("id")), response.get("output")
        if response_id is None:
            return []
        records: list[Record] = []
        for output in outputs if isinstance(outputs, list) else ():
            records += self._item(t, _mapping(output), response_id)
        details = _mapping(_mapping(response.get("usage")).get("output_token_details"))
        tokens = _count(details.get("audio_tokens"))
        return [*records, ["tokens", t, response_id, tokens]] if tokens else records


_Handler = Callable[[Evidence, int, JsonMapping], list[Record]]
#: Whether the client sent it, and the event's type -> its records.
_HANDLERS: Final[Mapping[tuple[bool, str], _Handler]] = {
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
    (False, "input_audio_buffer.speech_stopped"): Evidence._speech_stopped,
    (False, "response.output_item.added"): Evidence._item_announced,
    (False, "response.output_audio.done"): Evidence._audio_done,
    (False, "response.audio.done"): Evidence._audio_done,
    (False, "response.output_audio_transcript.done"): Evidence._audio_done,
    (False, "response.audio_transcript.done"): Evidence._audio_done,
    (False, "response.done"): Evidence._response_done,
    (False, "output_audio_buffer.started"): Evidence._output_buffer,
    (False, "output_audio_buffer.stopped"): Evidence._output_buffer,
    (False, "output_audio_buffer.cleared"): Evidence._output_buffer,
    (True, "output_audio_buffer.clear"): Evidence._clear,
    (True, "response.cancel"): Evidence._cancel,
    (True, "conversation.item.create"): Evidence._message_created,
    (True, "input_audio_buffer.commit"): Evidence._commit,
    (True, "input_audio_buffer.clear"): Evidence._clear_input,
    (False, "input_audio_buffer.committed"): Evidence._committed,
}
#: Types of the events that the recording must see, sent or received.
AUDIO_EVENTS: Final = frozenset(event_type for _, event_type in _HANDLERS)
