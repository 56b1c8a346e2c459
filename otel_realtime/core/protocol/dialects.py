"""The families of events that a socket may speak, as tables.

The state machine, the recording and the spans know one family, that of Realtime conversations by its
GA names. A :class:`Dialect` says how another one is read: which events carry audio, which carry text
in pieces, what its events are called there. Which dialect a socket speaks is decided once: by the
path of its request, or by the first event that tells. Another family is another row of
``DIALECTS``; only what no table can say (an event within an event) is a reader of its own, such as
:mod:`otel_realtime.core.protocol.live`.

====================  ==========================  ==============================================
dialect               path                        audio
====================  ==========================  ==============================================
``realtime``          ``.../realtime``            of items, which have responses
``translation``       ``.../translations``        of the session: without items, responses, turns
``live``              ``.../live/sessions``       the same
``live_sideband``     ``.../{id}/attach``         the same, of both sides, from the server
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

#: Clocks that a transcript's times are of.
SESSION: Final = "session"
INPUT: Final = "input"
ARRIVAL: Final = "arrival"


class Reader(Protocol):
    """Reads the events of one conversation as those that the state machine knows."""

    def received(self, event: Event) -> list[Event]:
        """Return what an event of the server says, in the state machine's words."""

    def sent(self, event: Event) -> list[Event]:
        """Return the same of an event of the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A transcript that comes as deltas without an end: no item, no turn, no ``.done``.

    Attributes:
        role: Who says it: ``user`` or ``assistant``.
        start: Key of a delta's start, in ms; the same as ``end`` if it has one time only.
        end: Key of its end.
        step_ms: With one time only: so much of it lies before that.
        clock: What the times count: ``session`` (time since the session began), ``input`` (audio that
            the client appended); ``arrival``: they only tell pauses, and the text stands where it came.
    """

    role: str
    start: str
    end: str
    step_ms: int = 0
    clock: str = SESSION


# Compared by identity: each is one row.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dialect:
    """How the events of one family are read.

    Attributes:
        name: Its name in the journal.
        paths: Globs of request paths on which nothing else is spoken.
        call: Matches a path that names the call which the socket observes, as its group 1.
        tells: Types of events that only this dialect has; by whom, does not matter.
        session_type: ``session.type`` that only this dialect has.
        keys: Keys by which its events are told from those of another dialect with the same type.
        families: First components of the types that its servers send.
        agent_audio: Server events that carry agent audio.
        user_audio: Client events that carry user audio.
        reflected_audio: Server events that carry user audio: the sideband of a call.
        text_deltas: Deltas of texts that are kept until they are complete.
        streams: Deltas of transcripts that nothing completes, by type.
        takes_floor: Whether one speaker's turn ends where the other one's begins; not if both talk
            all the time.
        client_events: Client events that change the state.
        names: Its name of an event -> the one that the state machine knows.
        session_events: Events that repeat the whole session.
        tells_formats: Whether the session's audio formats are those of this socket.
        begins_session: Whether the session, and so its clock, begins on this socket.
        wraps: Type of an event that carries another one -> the key of that.
        reader: Makes a reader, where names do not suffice.
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
        """Return the name of an event as the state machine knows it."""
        return self.names.get(kind, kind)

    def inner(self, event: Event) -> Event:
        """Return the event that an event carries, else the event itself."""
        key = self.wraps.get(event["type"])
        carried = None if key is None else event.get(key)
        return carried if isinstance(carried, dict) and _has_type(carried) else event


def _has_type(event: Event) -> bool:
    return isinstance(event.get("type"), str)


@dataclass(frozen=True, slots=True)
class Prefixes:
    """How the frames of some events begin, for one ``startswith`` per frame instead of a parse."""

    text: tuple[str, ...]
    data: tuple[bytes, ...]

    def of(self, frame: wire.Frame) -> bool:
        """Return whether a frame is one of these events, as far as its beginning tells."""
        if isinstance(frame, bytes):
            return frame.startswith(self.data)
        return frame.startswith(self.text)


@lru_cache(maxsize=64)
def prefixes(types: tuple[str, ...]) -> Prefixes:
    """Return how the frames of events of these types begin, where ``type`` is their first key."""
    text = wire.prefixes_of(types)
    return Prefixes(text, tuple(prefix.encode() for prefix in text))


#: Realtime conversations, by their GA names and the beta's.
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

#: Live translation: both sides talk all the time, so nobody waits for the floor. Its times advance by
#: frames of 200 ms of the audio that the client appended.
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
    # Where an observer could not be told by its path.
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

#: A second socket of a Live session. The server reflects the audio of both sides, as PCM16 at 24 kHz
#: whatever the format of the call is, so the session's own format does not count here.
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

#: All dialects; the first one is spoken where nothing says otherwise.
DIALECTS: tuple[Dialect, ...] = (REALTIME, TRANSLATION, LIVE, LIVE_SIDEBAND)

#: How frames of audio begin, in any dialect.
ANY_AGENT_AUDIO: Final = prefixes(
    tuple(dict.fromkeys(kind for each in DIALECTS for kind in each.agent_audio))
)
ANY_USER_AUDIO: Final = prefixes(
    tuple(dict.fromkeys(kind for each in DIALECTS for kind in each.user_audio))
)


def named(name: str) -> Dialect:
    """Return the dialect of a name; the first one for a name that is not known."""
    return next((each for each in DIALECTS if each.name == name), DIALECTS[0])


def by_path(path: str) -> Dialect | None:
    """Return the dialect that is spoken on a request path; None if that does not tell."""
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
    """Return the dialect that an event is of; None if it could be of several."""
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
    # What carries audio or text in another dialect is of one of those, though it may be any.
    of_others = any(kind in each.agent_audio or kind in each.streams for each in DIALECTS[1:])
    return None if of_others else DIALECTS[0]


#: Events that every dialect has.
_ANYBODYS: Final = frozenset({"error", "session.update", "session.updated", "session.closed"})


def is_known(event: Event) -> bool:
    """Return whether an event's type is of a family that some server sends."""
    family = event["type"].partition(".")[0]
    return any(family in each.families for each in DIALECTS)


def begins(event: Event, path: str) -> bool:
    """Return whether a received event shows that a socket speaks one of the dialects.

    The families that only a dialect with a path of its own has (``info``, ``transport``) are words of
    other protocols as well: they count on that path alone.

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
