"""The trace's records in the journal: written by a live call, read by recovery.

Besides the audio, the journal holds every event that changed the conversation's state, as it may be
stored, and the spans that were open. Notes are taken on the app's task, where each one is one queue
append; the writer thread turns them into text. ``span``, ``parent``: 16 hex digits; ``at``: epoch ns;
``t``: ns since the start. A field after ``?`` may be missing::

    ["event", t, {"at", "t", "event", ?"dir": "r" | "s", ?"span", ?"n"}]
                                     received (``r``) or sent; ``n``: events received so far, including
                                     those without a note; without ``span``, the event has no span
    ["said", t, {"at", "t", "item", "index", "role", "text" | "add",
                     ?"response", ?"audio", ?"place": [start, end, after_silence, ?ms, ?ms]}]
                                     text of a part that is not complete: all of it, or what was
                                     added to it; ``place``: where it was said (``items.Place``)
    ["dialect", t, {"name"}]         the dialect from here on (``dialects``), if not ``realtime``
    ["asked", t, {"at"}]             the app asked for the next frame: the event's span ended
    ["span", t, {"span", "parent", "at", ?"name", ?"kind", ?"scope", ?"attributes"}]
                                     a tool's span, or one of the app's own, started; a second record
                                     for the same span: it restarted
    ["end", t, {"span", ?"at", ?"discarded", ?"name", ?"attributes", ?"error"}]
                                     the span ended; ``discarded``: it will never be exported; for
                                     one of ours, its final name and attributes, and its failure
    ["settled", t, {"ids"}]          the inference spans of these responses were written
    ["meta", t, {?"metadata", ?"tags"}]   all metadata and tags that the app set
    ["start", t, {"start_ns"}]       the app's first time moved the start
    ["jump", t, {"n"}]               the app's times jumped; ``n``: number of jumps so far
    ["parted", t, {"at", "t", ?"n", ?"dropped", ?"code", ?"reason", ?"by_client",
                   ?"failure": [type, message], ?"otlp"}]
                                     its connection closed; if no other one follows, this was the end
    ["joined", t, {"at", "t", ?"refused"}]   another connection continues; refusals before it
    ["policy", t, {?"inputs", ?"outputs", ?"audio"}]   stricter privacy; missing: hidden
    ["ended", t, {"at", "t", ?"n", ?"dropped", ?"code", ?"reason", ?"by_client",
                  ?"failure": [type, message], ?"otlp"}]
                                     all spans have ended; only the delivery remains
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from otel_realtime.core.protocol.events import Event
from otel_realtime.core.protocol.items import ARGUMENTS, Place
from otel_realtime.core.protocol.outcome import Ending, Failure
from otel_realtime.core.protocol.partials import Partial
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.core.protocol.responses import Moment, Response
from otel_realtime.state.header import (
    attributes_from_wire,
    policy_from_wire,
    policy_to_wire,
)
from otel_realtime.state.journal import LATEST_NS

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from otel_realtime.core.protocol.outcome import Identity

Note = Callable[[str, Mapping[str, Any]], None]


class Notes:
    """Writes the notes of one conversation.

    Args:
        note: takes a note's kind and data; ``None``: the conversation is not stored on disk.
        hurry: has the notes so far written at once. It is called for a response that is done, which is
            a complete answer with its usage, and rare enough; and for stricter privacy.
    """

    __slots__ = ("_hurry", "_note", "_said")

    def __init__(self, note: Note | None = None, hurry: Callable[[], None] | None = None) -> None:
        self._note, self._hurry = note, hurry
        # The latest part of each role, and its text: both may be talking at once.
        self._said: dict[str, tuple[str, int, str]] = {}

    def received(
        self, event: Event, moment: Moment, span: Span | None, policy: ContentPolicy, count: int
    ) -> None:
        """Note a server event; ``count``: events so far, including those without a note."""
        if self._note is None:
            return
        self._note(
            "event",
            {
                "at": moment.at_ns,
                "t": moment.t,
                "dir": "r",
                "event": event if policy.payloads else policy.hidden(event),
                "span": None if span is None else f"{span.get_span_context().span_id:016x}",
                "n": count,
            },
        )
        if self._hurry is not None and event["type"] == "response.done":
            self._hurry()

    def sent(self, event: Event, moment: Moment, policy: ContentPolicy) -> None:
        """Note a client event."""
        if self._note is not None:
            event = event if policy.payloads else policy.hidden(event)
            self._note("event", {"at": moment.at_ns, "t": moment.t, "dir": "s", "event": event})

    def said(self, partial: Partial, moment: Moment, policy: ContentPolicy) -> None:
        """Note the text of a part so far; only the added text is written."""
        if self._note is None:
            return
        text = partial.text if policy.payloads else HIDDEN
        last_id, last_index, last = self._said.get(partial.role, ("", 0, ""))
        self._said[partial.role] = (partial.item_id, partial.index, text)
        same = (last_id, last_index) == (partial.item_id, partial.index)
        grown = same and text.startswith(last)
        place = {} if partial.place is None else {"place": _place_to_wire(partial.place)}
        self._note(
            "said",
            {
                "at": moment.at_ns,
                "t": moment.t,
                "item": partial.item_id,
                "index": partial.index,
                "role": partial.role,
                "response": partial.response_id,
                "audio": partial.audio,
                **place,
                **({"add": text[len(last) :]} if grown else {"text": text}),
            },
        )

    def speaks(self, dialect: str) -> None:
        """Note that the dialect of this name is used from here on."""
        if self._note is not None:
            self._note("dialect", {"name": dialect})

    def asked(self, at_ns: int) -> None:
        """Note that the current event's span has ended."""
        if self._note is not None:
            self._note("asked", {"at": at_ns})

    def settled(self, responses: Iterable[Response]) -> None:
        """Note that these responses were written as spans."""
        ids = [response.id for response in responses]
        if ids and self._note is not None:
            self._note("settled", {"ids": ids})

    def about(self, who: Identity) -> None:
        """Note the metadata and tags that the app set."""
        if self._note is not None:
            self._note("meta", {"metadata": dict(who.metadata), "tags": list(who.tags)})

    def started(self, start_ns: int) -> None:
        """Note that the conversation starts at another time than its journal."""
        if self._note is not None:
            self._note("start", {"start_ns": start_ns})

    def jumped(self, jumps: int) -> None:
        """Note that the app's times have jumped; ``jumps``: number of jumps so far."""
        if self._note is not None:
            self._note("jump", {"n": jumps})

    def tightened(self, policy: ContentPolicy) -> None:
        """Note that stricter privacy applies from now on."""
        if self._note is not None:
            self._note("policy", policy_to_wire(policy))
        if self._hurry is not None:
            self._hurry()

    def ended(
        self, ending: Ending, moment: Moment, events: int, dropped: int, *, otlp: bool
    ) -> None:
        """Note the end; ``otlp``: the root goes by OTLP, because the backend refused it."""
        if self._note is not None:
            self._note("ended", _end_of(ending, moment, events, dropped, otlp=otlp))

    def parted(
        self, ending: Ending, moment: Moment, events: int, dropped: int, *, otlp: bool
    ) -> None:
        """Note that its connection closed and another may follow; arguments as for ``ended``."""
        if self._note is not None:
            self._note("parted", _end_of(ending, moment, events, dropped, otlp=otlp))
        if self._hurry is not None:  # it may be the end, so it must survive a kill
            self._hurry()

    def joined(self, moment: Moment, refused: int) -> None:
        """Note that another connection continues; ``refused``: refused attempts before it."""
        if self._note is not None:
            self._note("joined", {"at": moment.at_ns, "t": moment.t, "refused": refused})


def _end_of(
    ending: Ending, moment: Moment, events: int, dropped: int, *, otlp: bool
) -> dict[str, Any]:
    failure = ending.failure
    return {
        "at": moment.at_ns,
        "t": moment.t,
        "n": events,
        "dropped": dropped,
        "code": ending.code,
        "reason": ending.reason,
        "by_client": ending.by_client,
        "failure": None if failure is None else [failure.type, failure.message],
        "otlp": otlp,
    }


# -- read back -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A server event; ``span_id`` is ``None`` if it has no span."""

    event: Event
    moment: Moment
    span_id: int | None
    count: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A client event."""

    event: Event
    moment: Moment


@dataclass(frozen=True, slots=True)
class Said:
    """Text of a part that is not complete; ``added``: it continues the previous text."""

    partial: Partial
    added: bool
    moment: Moment


@dataclass(frozen=True, slots=True)
class Speaks:
    """A dialect that is used from here on."""

    dialect: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The span of the previous event has ended."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class SpanBegan:
    """A tool's span, or one of the app's own, started below the root."""

    span_id: int
    parent_id: int
    name: str
    start_ns: int
    kind: str
    scope: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SpanEnded:
    """A span has ended.

    Attributes:
        span_id: the span.
        at_ns: when it ended, epoch ns.
        discarded: it was never exported.
        name: its final name; "" if unknown.
        attributes: its final attributes; empty if unknown.
        error: description of its failure; ``None`` if it did not fail.
    """

    span_id: int
    at_ns: int
    discarded: bool = False
    name: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """The inference spans of these responses were written."""

    response_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class About:
    """The app's metadata and tags; ``None``: unchanged."""

    metadata: dict[str, Any] | None
    tags: list[str] | None


@dataclass(frozen=True, slots=True)
class Started:
    """The start moved."""

    start_ns: int


@dataclass(frozen=True, slots=True)
class Jumped:
    """The app's times have jumped; ``jumps``: number of jumps so far."""

    jumps: int


@dataclass(frozen=True, slots=True)
class Tightened:
    """Stricter privacy applies from now on."""

    policy: ContentPolicy


@dataclass(frozen=True, slots=True)
class Ended:
    """The conversation is over."""

    ending: Ending
    moment: Moment
    events: int
    dropped: int
    otlp: bool


@dataclass(frozen=True, slots=True)
class Parted(Ended):
    """Its connection closed; if no other one follows, this was the end of the conversation."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Another connection continues, after ``refused`` attempts that the server refused."""

    moment: Moment
    refused: int


AnyNote = (
    Received
    | Sent
    | Said
    | Speaks
    | Asked
    | SpanBegan
    | SpanEnded
    | Settled
    | About
    | Started
    | Jumped
    | Tightened
    | Parted
    | Joined
    | Ended
)


def read_note(kind: str, data: object) -> AnyNote | None:
    """Read one record of the trace; return ``None`` if it is of another kind.

    Raises:
        ValueError: it is not valid.
    """
    rule = _RULES.get(kind)
    if rule is None:
        return None
    try:
        return rule(_object(data))
    except (LookupError, TypeError, OverflowError) as error:
        raise ValueError(f"a note {kind!r} makes no sense: {error!r}") from error


def _event(data: Mapping[str, Any]) -> Received | Sent:
    event, moment = _object(data["event"]), _moment(data)
    if not isinstance(event.get("type"), str):
        raise ValueError("an event without a type")
    if data.get("dir") == "s":
        return Sent(event, moment)
    span = data.get("span")
    return Received(event, moment, None if span is None else _id(span), _int(data.get("n", 0)))


def _said(data: Mapping[str, Any]) -> Said:
    added, response_id = "add" in data, data.get("response")
    index, role = data["index"], "user" if data.get("role") == "user" else "assistant"
    if index == ARGUMENTS:
        role = ""
    partial = Partial(
        item_id=str(data["item"]),
        index=index if index == ARGUMENTS else _int(index),
        role=role,
        response_id=response_id if isinstance(response_id, str) else None,
        text=str(data["add"] if added else data["text"]),
        audio=data.get("audio") is True,
        place=None if data.get("place") is None else _place(data["place"]),
    )
    return Said(partial, added, _moment(data))


def _place_to_wire(place: Place) -> list[Any]:
    wire: list[Any] = [place.start_t, place.end_t, place.after_silence]
    if place.start_ms is not None:
        wire += [place.start_ms, place.end_ms]
    return wire


def _place(value: object) -> Place:
    if not isinstance(value, list):
        raise ValueError("not a place")
    start_t, end_t, after_silence, *appended = value
    start_ms, end_ms = (_int(ms) for ms in appended) if appended else (None, None)
    return Place(_int(start_t), _int(end_t), after_silence is True, start_ms, end_ms)


def _span(data: Mapping[str, Any]) -> SpanBegan:
    return SpanBegan(
        _id(data["span"]),
        _id(data["parent"]),
        str(data.get("name") or "unnamed"),
        _int(data["at"]),
        str(data.get("kind", "INTERNAL")),
        str(data.get("scope", "")),
        attributes_from_wire(data.get("attributes")),
    )


def _end(data: Mapping[str, Any]) -> SpanEnded:
    name, error = data.get("name"), data.get("error")
    return SpanEnded(
        _id(data["span"]),
        _int(data.get("at") or 0),
        data.get("discarded") is True,
        name if isinstance(name, str) else "",
        attributes_from_wire(data.get("attributes")),
        error if isinstance(error, str) else None,
    )


def _about(data: Mapping[str, Any]) -> About:
    metadata, tags = data.get("metadata"), data.get("tags")
    return About(
        None if metadata is None else dict(_object(metadata)),
        [str(tag) for tag in tags] if isinstance(tags, list) else None,
    )


def _ended(data: Mapping[str, Any], kind: type[Ended] = Ended) -> Ended:
    code, reason = data.get("code"), data.get("reason")
    ending = Ending(
        code=code if type(code) is int else None,
        reason=reason if isinstance(reason, str) else "",
        by_client=data.get("by_client") is not False,
        failure=_failure(data.get("failure")),
    )
    events, dropped = _int(data.get("n", 0)), _int(data.get("dropped", 0))
    return kind(ending, _moment(data), events, dropped, data.get("otlp") is True)


def _failure(value: object) -> Failure | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    return Failure(str(value[0]), str(value[1]))


def _moment(data: Mapping[str, Any]) -> Moment:
    t = data["t"]
    if type(t) is not int or not -LATEST_NS < t < LATEST_NS:
        raise ValueError("not a time of a conversation")
    return Moment(t, _int(data["at"]))


def _id(value: object) -> int:
    found = int(value, 16) if isinstance(value, str) else 0
    if not 0 < found < 2**64:
        raise ValueError("not the id of a span")
    return found


def _int(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("not a count, or a time since the epoch")
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


_RULES: Final[Mapping[str, Callable[[Mapping[str, Any]], AnyNote]]] = {
    "event": _event,
    "said": _said,
    "dialect": lambda data: Speaks(str(data["name"])),
    "asked": lambda data: Asked(_int(data["at"])),
    "span": _span,
    "end": _end,
    "settled": lambda data: Settled(tuple(str(name) for name in data["ids"])),
    "meta": _about,
    "start": lambda data: Started(_int(data["start_ns"])),
    "jump": lambda data: Jumped(_int(data["n"])),
    "policy": lambda data: Tightened(policy_from_wire(data)),
    "parted": lambda data: _ended(data, Parted),
    "joined": lambda data: Joined(_moment(data), _int(data.get("refused") or 0)),
    "ended": _ended,
}
