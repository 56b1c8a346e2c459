"""The dialects of a socket: families of events, described as tables.

The state machine, the recording and the spans know one family of events: Realtime conversations, with
GA names. A :class:`Dialect` describes how to read a family: which events carry audio, which carry text
in pieces, and what its events are called. The dialect of a socket is determined once, by the path of
its request or by the first event that is specific to a dialect. To add a family, add a row to
``DIALECTS``. Only what no table can express (an event within an event) needs a reader, such as
:mod:`otel_realtime.core.protocol.live`.

====================  ==========================  ==============================================
dialect               path                        audio
====================  ==========================  ==============================================
``realtime``          ``.../realtime``            of items, which belong to responses
``translation``       ``.../translations``        of the session, without items, responses or turns
``live``              ``.../live/sessions``       as for ``translation``
``live_sideband``     ``.../{id}/attach``         as for ``live``, but the server sends both sides
====================  ==========================  ==============================================

Sources: https://platform.openai.com/docs/api-reference/realtime-server-events and the types of the
``openai`` package (3.57): ``types/live``, ``types/realtime/realtime_translation_*``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from typing import Final, Protocol

from otel_realtime.core.protocol import events as wire
from otel_realtime.core.protocol.events import Event
from otel_realtime.core.protocol.json_values import object_or_empty
from otel_realtime.core.protocol.live import LiveReader

#: Clocks to which the times of a transcript can refer; see ``Stream.clock``.
SESSION: Final = "session"
INPUT: Final = "input"
ARRIVAL: Final = "arrival"


class Reader(Protocol):
    """Converts the events of one conversation to events that the state machine knows."""

    def received(self, event: Event) -> list[Event]:
        """Convert an event of the server to events that the state machine knows."""

    def sent(self, event: Event) -> list[Event]:
        """Convert an event of the client to events that the state machine knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A transcript that arrives as deltas only, without items, turns or a ``.done``.

    Attributes:
        role: Who says it: ``user`` or ``assistant``.
        start: Key of a delta's start time, in ms; the same as ``end`` if a delta has only one time.
        end: Key of a delta's end time, in ms.
        step_ms: If a delta has only one time, its length before that time, in ms.
        clock: What the times count: ``session`` (time since the session began), ``input`` (audio that
            the client appended), or ``arrival`` (the times are used only to detect pauses, and the text
            is placed where it arrived).
    """

    role: str
    start: str
    end: str
    step_ms: int = 0
    clock: str = SESSION


# Compared by identity: each dialect exists once.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dialect:
    """How the events of one family are read.

    Attributes:
        name: Its name in the journal.
        paths: Globs of request paths on which only this dialect is spoken.
        call: Regular expression for a path that names the call which the socket observes; group 1 is
            the call's id.
        tells: Types of events, of server or client, that only this dialect has.
        session_type: ``session.type`` that only this dialect has.
        keys: Keys that distinguish its events from events of the same type in another dialect.
        families: First components of the event types that its servers send.
        agent_audio: Server events that carry agent audio.
        user_audio: Client events that carry user audio.
        reflected_audio: Server events that carry user audio (on the sideband of a call).
        text_deltas: Deltas of texts that are kept until they are complete.
        streams: Deltas of transcripts that no event completes, by type.
        takes_floor: Whether one speaker's turn ends when the other speaker begins; false if both talk
            all the time.
        client_events: Client events that change the state.
        names: Name of an event in this dialect -> the name that the state machine knows.
        session_events: Events that repeat the whole session.
        tells_formats: Whether the session's audio formats apply to this socket.
        begins_session: Whether the session, and so its clock, begins on this socket.
        wraps: Type of an event that contains another event -> key of the inner event.
        reader: Creates a reader; None if renaming events is enough.
    """

    name: str
    paths: tuple[str, ...] = ()
    call: str | None = None
    tells: frozenset[str] = frozenset()
    session_type: str | None = None
    keys: frozenset[str] = frozenset()
    families: frozenset[str] = frozenset()
    agent_audio: tuple[str, ...] = ()
    user_audio: tuple[str, ...] = ()
    reflected_audio: tuple[str, ...] = ()
    text_deltas: tuple[str, ...] = ()
    streams: Mapping[str, Stream] = field(default_factory=dict)
    takes_floor: bool = True
    client_events: frozenset[str] = frozenset()
    names: Mapping[str, str] = field(default_factory=dict)
    session_events: frozenset[str] = frozenset()
    tells_formats: bool = True
    begins_session: bool = True
    wraps: Mapping[str, str] = field(default_factory=dict)
    reader: Callable[[], Reader] | None = None

    def name_of(self, kind: str) -> str:
        """Return the state machine's name for an event type of this dialect."""
        return self.names.get(kind, kind)

    def inner(self, event: Event) -> Event:
        """Return the event that an event contains, else the event itself."""
        key = self.wraps.get(event["type"])
        carried = None if key is None else event.get(key)
        return carried if isinstance(carried, dict) and _has_type(carried) else event


def _has_type(event: Event) -> bool:
    return isinstance(event.get("type"), str)


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Prefixes of the frames of some events, for one ``startswith`` per frame instead of a parse."""

    text: tuple[str, ...]
    data: tuple[bytes, ...]

    def of(self, frame: wire.Frame) -> bool:
        """Return whether a frame begins with one of the prefixes."""
        if isinstance(frame, bytes):
            return frame.startswith(self.data)
        return frame.startswith(self.text)


@lru_cache(maxsize=64)
def prefixes(types: tuple[str, ...]) -> Prefixes:
    """Return the prefixes of frames of events of these types whose first key is ``type``."""
    text = wire.prefixes_of(types)
    return Prefixes(text, tuple(prefix.encode() for prefix in text))


#: Realtime conversations, with GA and beta names.
REALTIME: Final = Dialect(
    name="realtime",
    tells=frozenset(
        {
            "response.created",
            "conversation.item.create",
            "input_audio_buffer.append",
            "transcription_session.created",
            "conversation.created",
        }
    ),
    families=wire.FAMILIES,
    agent_audio=wire.AGENT_AUDIO,
    user_audio=wire.USER_AUDIO,
    text_deltas=wire.TEXT_DELTAS,
    client_events=frozenset(
        {
            "response.create",
            "conversation.item.create",
            "session.update",
            "input_audio_buffer.commit",
        }
    ),
    names=wire.GA_NAMES,
    session_events=frozenset(
        {
            "session.created",
            "session.updated",
            "transcription_session.created",
            "transcription_session.updated",
        }
    ),
)

_SOURCE: Final = "session.input_transcript.delta"
_TARGET: Final = "session.output_transcript.delta"
_OUTPUT: Final = ("session.output_audio.delta",)

#: Live translation: both sides talk all the time, so neither ends the other's turn. Its times advance in
#: steps of 200 ms of the audio that the client appended.
TRANSLATION: Final = Dialect(
    name="translation",
    paths=("*/realtime/translations", "*/realtime/translations/"),
    tells=frozenset({"session.input_audio_buffer.append"}),
    session_type="translation",
    keys=frozenset({"elapsed_ms"}),
    families=frozenset({"session", "error"}),
    agent_audio=_OUTPUT,
    user_audio=("session.input_audio_buffer.append",),
    streams={
        _SOURCE: Stream(
            role="user", start="elapsed_ms", end="elapsed_ms", step_ms=200, clock=INPUT
        ),
        _TARGET: Stream(
            role="assistant", start="elapsed_ms", end="elapsed_ms", step_ms=200, clock=ARRIVAL
        ),
    },
    takes_floor=False,
    client_events=frozenset({"session.update"}),
    session_events=frozenset({"session.created", "session.updated"}),
)

#: Live sessions on their own socket.
LIVE: Final = Dialect(
    name="live",
    paths=("*/live/sessions", "*/live/sessions/", "*/live/sessions/*/fork"),
    tells=frozenset(
        {
            "session.start",
            "session.started",
            "session.input_audio.append",
            "session.input_audio.mute",
            "session.input_audio.muted",
            "session.input_audio.unmute",
            "session.input_audio.unmuted",
            "session.instructions.append",
            "session.instructions.appended",
            "session.thinking.append",
            "session.thinking.appended",
            "session.commentary.append",
            "session.commentary.appended",
            "session.delegation.created",
            "session.usage.updated",
            "response.event",
            "response.item.create",
            "decision.event",
        }
    ),
    keys=frozenset({"start_ms", "end_ms"}),
    families=frozenset({"session", "response", "decision", "transport", "info", "error"}),
    agent_audio=_OUTPUT,
    user_audio=("session.input_audio.append",),
    # Needed for an observer that its path did not identify as one.
    reflected_audio=("session.input_audio.append",),
    text_deltas=wire.TEXT_DELTAS,
    streams={
        _SOURCE: Stream(role="user", start="start_ms", end="end_ms"),
        _TARGET: Stream(role="assistant", start="start_ms", end="end_ms"),
    },
    client_events=frozenset({"session.start", "response.create", "response.item.create"}),
    names={
        "session.started": "session.created",
        "session.start": "session.update",
        "transport.dtmf.received": "input_audio_buffer.dtmf_event_received",
    },
    session_events=frozenset({"session.started", "session.updated", "session.closed"}),
    wraps={"response.event": "event", "decision.event": "event"},
    reader=LiveReader,
)

#: A second socket of a Live session. The server reflects the audio of both sides, always as PCM16 at
#: 24 kHz, so the session's own audio format does not apply here.
LIVE_SIDEBAND: Final = Dialect(
    name="live_sideband",
    paths=("*/live/sessions/*/attach",),
    call=r".*/live/sessions/([^/]+)/attach/?\Z",
    families=LIVE.families,
    agent_audio=LIVE.agent_audio,
    user_audio=LIVE.user_audio,
    reflected_audio=LIVE.reflected_audio,
    text_deltas=LIVE.text_deltas,
    streams=LIVE.streams,
    client_events=LIVE.client_events,
    names=LIVE.names,
    session_events=LIVE.session_events,
    tells_formats=False,
    begins_session=False,
    wraps=LIVE.wraps,
    reader=lambda: LiveReader(reflected=True),
)

#: All dialects; the first one is the default.
DIALECTS: tuple[Dialect, ...] = (REALTIME, TRANSLATION, LIVE, LIVE_SIDEBAND)

#: Prefixes of audio frames, in any dialect.
ANY_AGENT_AUDIO: Final = prefixes(
    tuple(dict.fromkeys(kind for each in DIALECTS for kind in each.agent_audio))
)
ANY_USER_AUDIO: Final = prefixes(
    tuple(dict.fromkeys(kind for each in DIALECTS for kind in each.user_audio))
)


def named(name: str) -> Dialect:
    """Return the dialect with this name; the first one if the name is unknown."""
    return next((each for each in DIALECTS if each.name == name), DIALECTS[0])


def by_path(path: str) -> Dialect | None:
    """Return the dialect that is spoken on a request path; None if the path does not determine it."""
    return next((each for each in DIALECTS if _matches(each.paths, path)), None)


@lru_cache(maxsize=64)
def _rule(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, globs)))


def _matches(globs: tuple[str, ...], path: str) -> bool:
    return bool(globs) and _rule(globs).match(path) is not None


def call_of(path: str) -> str | None:
    """Return the id of the call that a socket observes, if its path names one."""
    for each in DIALECTS:
        found = None if each.call is None else re.match(each.call, path)
        if found is not None:
            return found[1]
    return None


def by_event(event: Event) -> Dialect | None:
    """Return the dialect that an event belongs to; None if it could belong to several."""
    kind = event["type"]
    session_type = object_or_empty(event.get("session")).get("type")
    for each in DIALECTS:
        if kind in each.tells or (session_type is not None and session_type == each.session_type):
            return each
    for each in DIALECTS:
        if not each.keys.isdisjoint(event) and (kind in each.agent_audio or kind in each.streams):
            return each
    if kind in _ANYBODYS or kind.partition(".")[0] not in DIALECTS[0].families:
        return None
    # An event that carries audio or text in other dialects belongs to one of them, but which is unknown.
    of_others = any(kind in each.agent_audio or kind in each.streams for each in DIALECTS[1:])
    return None if of_others else DIALECTS[0]


#: Events that every dialect has.
_ANYBODYS: Final = frozenset({"error", "session.update", "session.updated", "session.closed"})


def is_known(event: Event) -> bool:
    """Return whether an event's type belongs to a family that the server of any dialect sends."""
    family = event["type"].partition(".")[0]
    return any(family in each.families for each in DIALECTS)


def begins(event: Event, path: str) -> bool:
    """Return whether a received event shows that a socket speaks one of the dialects.

    The families that only a dialect with its own path has (``info``, ``transport``) are also used by
    other protocols, so they count only on that path.

    Args:
        event: The event.
        path: Request path of the socket.
    """
    family, dialect = event["type"].partition(".")[0], by_path(path)
    return family in REALTIME.families or (dialect is not None and family in dialect.families)


def is_agent_audio(kind: str) -> bool:
    """Return whether events of a type carry agent audio, in any dialect."""
    return any(kind in each.agent_audio for each in DIALECTS)


def is_user_audio(kind: str) -> bool:
    """Return whether events of a type carry user audio, in any dialect."""
    return any(kind in each.user_audio for each in DIALECTS)
