"""The journal's notes, both ways: what a live call writes is what recovery reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import NonRecordingSpan, SpanContext

from otel_realtime.core.protocol.items import Place
from otel_realtime.core.protocol.outcome import Ending, Failure, Identity, Provider
from otel_realtime.core.protocol.partials import Partial
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.core.protocol.responses import Moment, Response
from otel_realtime.state.journal import note_line
from otel_realtime.state.notes import (
    About,
    AnyNote,
    Asked,
    Ended,
    Joined,
    Jumped,
    Notes,
    Parted,
    Received,
    Said,
    Sent,
    Settled,
    SpanBegan,
    SpanEnded,
    Speaks,
    Started,
    Tightened,
    read_note,
)
from tests.support.rig import make_rig
from tests.support.streams import bounded, json_values

ALL = ContentPolicy()
NO_INPUTS = ContentPolicy(inputs=False)

times = st.integers(0, 2**63 - 1)
moments = st.builds(Moment, st.integers(0, 2**53 - 1), times)
span_ids = st.integers(1, 2**64 - 1)
counts = st.integers(0, 2**63 - 1)
texts = st.text(max_size=8)
events = st.dictionaries(texts, json_values, max_size=4).map(lambda event: {**event, "type": "x"})
policies = st.builds(
    ContentPolicy, inputs=st.booleans(), outputs=st.booleans(), audio=st.booleans()
)
endings = st.builds(
    Ending,
    code=st.none() | st.integers(0, 4999),
    reason=texts,
    by_client=st.booleans(),
    failure=st.none() | st.builds(Failure, texts, texts),
)


class Written:
    """Takes the notes of a conversation, and reads them as another process does."""

    def __init__(self) -> None:
        self.notes: list[AnyNote | None] = []
        self.to = Notes(self.take)

    def take(self, kind: str, data: Mapping[str, Any]) -> None:
        """Over the journal's text."""
        record = json.loads(note_line(kind, 0, data))
        self.notes.append(read_note(record[0], record[2]))


def span(span_id: int) -> NonRecordingSpan:
    """A span with this id."""
    return NonRecordingSpan(SpanContext(1, span_id, False))


# -- both ways -------------------------------------------------------------------------------------


@bounded
@given(events, moments, st.none() | span_ids, counts)
def test_an_event_of_the_server(
    event: dict[str, Any], moment: Moment, span_id: int | None, count: int
) -> None:
    """With its span, if one was made."""
    written = Written()
    written.to.received(event, moment, None if span_id is None else span(span_id), ALL, count)
    assert [Received(event, moment, span_id, count)] == written.notes


@bounded
@given(events, moments)
def test_an_event_of_the_client(event: dict[str, Any], moment: Moment) -> None:
    """As it was sent."""
    written = Written()
    written.to.sent(event, moment, ALL)
    assert [Sent(event, moment)] == written.notes


@bounded
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1), texts)), moments)
def test_text_so_far(pieces: list[tuple[str, int, str]], moment: Moment) -> None:
    """Only what was added to a part is written, and adds up to the whole."""
    written, whole, again = Written(), {}, {}
    for item_id, index, piece in pieces:
        key = (item_id, index)
        whole[key] = whole.get(key, "") + piece
        partial = Partial(
            item_id=item_id, index=index, role="assistant", response_id="r", text=whole[key]
        )
        written.to.said(partial, moment, ALL)
    for note in written.notes:
        assert isinstance(note, Said)
        assert ("assistant", "r", moment) == (
            note.partial.role,
            note.partial.response_id,
            note.moment,
        )
        key = (note.partial.item_id, note.partial.index)
        again[key] = (again.get(key, "") if note.added else "") + note.partial.text
    assert whole == again


@bounded
@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), texts)), moments)
def test_text_of_two_who_talk_at_once(pieces: list[tuple[str, str]], moment: Moment) -> None:
    """Each one's text is written once, however often they take turns, and says where it was said."""
    written, whole = Written(), {"user": "", "assistant": ""}
    place = Place(5, 9, after_silence=True, start_ms=3, end_ms=4)
    for role, piece in pieces:
        whole[role] += piece
        partial = Partial(
            item_id=f"said_{role}",
            index=0,
            role=role,
            response_id=None,
            text=whole[role],
            place=place,
        )
        written.to.said(partial, moment, ALL)
    notes = [note for note in written.notes if isinstance(note, Said)]
    assert {place} >= {note.partial.place for note in notes} or not notes
    again = {"user": "", "assistant": ""}
    for note in notes:
        again[note.partial.role] += note.partial.text
    assert whole == again


def test_what_is_spoken() -> None:
    """By the dialect's name; a place may be known in the recording only."""
    written = Written()
    written.to.speaks("live")
    partial = Partial(
        item_id="a", index=0, role="user", response_id=None, text="x", place=Place(5, 9)
    )
    written.to.said(partial, Moment(1, 2), ALL)
    assert [Speaks("live"), Said(partial, False, Moment(1, 2))] == written.notes


@bounded
@given(times, times)
def test_when_the_app_asked_and_when_it_starts(asked: int, start: int) -> None:
    """Each at its time."""
    written = Written()
    written.to.asked(asked)
    written.to.started(start)
    assert [Asked(asked), Started(start)] == written.notes


@bounded
@given(counts)
def test_how_often_the_times_jumped(jumps: int) -> None:
    """So far."""
    written = Written()
    written.to.jumped(jumps)
    assert [Jumped(jumps)] == written.notes


@bounded
@given(st.lists(texts.filter(bool), min_size=1, max_size=4))
def test_which_responses_were_written(ids: list[str]) -> None:
    """By their ids; none at all is no note."""
    written = Written()
    written.to.settled([Response(name, Moment(0, 0)) for name in ids])
    written.to.settled([])
    assert [Settled(tuple(ids))] == written.notes


@bounded
@given(st.dictionaries(texts, json_values, max_size=4), st.lists(texts, max_size=4))
def test_what_the_app_says(metadata: dict[str, Any], tags: list[str]) -> None:
    """All of it, as it stands now."""
    written = Written()
    written.to.about(Identity("t", False, Provider(), metadata=metadata, tags=tags))
    assert [About(metadata, tags)] == written.notes


@bounded
@given(policies)
def test_stricter_privacy(policy: ContentPolicy) -> None:
    """Each side for itself."""
    written = Written()
    written.to.tightened(policy)
    assert [Tightened(policy)] == written.notes


@bounded
@given(endings, moments, counts, counts, st.booleans())
def test_the_end(ending: Ending, moment: Moment, count: int, dropped: int, otlp: bool) -> None:
    """How it ended, when, and what is left."""
    written = Written()
    written.to.ended(ending, moment, count, dropped, otlp=otlp)
    assert [Ended(ending, moment, count, dropped, otlp)] == written.notes


@bounded
@given(endings, moments, counts, counts, st.booleans())
def test_a_connection_that_closed(
    ending: Ending, moment: Moment, count: int, dropped: int, otlp: bool
) -> None:
    """The same as the end, which it may have been."""
    written = Written()
    written.to.parted(ending, moment, count, dropped, otlp=otlp)
    assert [Parted(ending, moment, count, dropped, otlp)] == written.notes


@bounded
@given(moments, counts)
def test_a_connection_that_goes_on(moment: Moment, refused: int) -> None:
    """When, and after how many refusals."""
    written = Written()
    written.to.joined(moment, refused)
    assert [Joined(moment, refused)] == written.notes


@bounded
@given(st.dictionaries(texts, st.integers(0, 9) | texts | st.booleans(), max_size=3))
def test_a_span_that_stays_open_for_long(given_attributes: dict[str, Any]) -> None:
    """A tool's span with its attributes, from its start to its end."""
    rig, written = make_rig(), Written()
    root = rig.root()
    rig.trace.note = written.take
    attributes = {**given_attributes, "langsmith.span.kind": "tool"}
    tool = rig.child(rig.ours, "execute_tool f", root, attributes=attributes, start_time=10**18 + 5)
    tool.end(10**18 + 9)
    began, ended = written.notes
    assert isinstance(began, SpanBegan)
    own = tool.get_span_context().span_id
    assert (own, rig.trace.root_span_id, "execute_tool f", 10**18 + 5, "INTERNAL") == (
        began.span_id,
        began.parent_id,
        began.name,
        began.start_ns,
        began.kind,
    )
    assert {key: value for key, value in attributes.items() if key}.items() <= (
        began.attributes.items()
    )
    assert isinstance(ended, SpanEnded)
    assert (own, 10**18 + 9, "execute_tool f", None, "otel_realtime.tracing") == (
        ended.span_id,
        ended.at_ns,
        ended.name,
        ended.error,
        began.scope,
    )
    assert "tool" == ended.attributes["langsmith.span.kind"]
    assert ended.attributes.keys() <= began.attributes.keys()


# -- what is not written ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_sent", [True, False])
def test_content_that_is_hidden_is_not_written(is_sent: bool) -> None:
    """One side that is hidden hides a whole payload."""
    event = {"type": "x", "event_id": "event_1", "text": "PLANTED"}
    written = Written()
    if is_sent:
        written.to.sent(event, Moment(1, 2), NO_INPUTS)
    else:
        written.to.received(event, Moment(1, 2), None, NO_INPUTS, 1)
    partial = Partial(item_id="a", index=0, role="user", response_id=None, text="PLANTED")
    written.to.said(partial, Moment(1, 2), NO_INPUTS)
    found, text = written.notes
    assert isinstance(text, Said)
    assert HIDDEN == text.partial.text
    assert isinstance(found, Received | Sent)
    assert {**event, "text": HIDDEN} == found.event


def test_a_conversation_that_is_not_on_disk_writes_nothing() -> None:
    """Every kind of note can be made all the same."""
    notes, moment = Notes(), Moment(1, 2)
    notes.received({"type": "x"}, moment, span(1), ALL, 1)
    notes.sent({"type": "x"}, moment, ALL)
    partial = Partial(item_id="a", index=0, role="user", response_id=None, text="x")
    notes.said(partial, moment, ALL)
    notes.asked(1)
    notes.speaks("live")
    notes.settled([Response("r", moment)])
    notes.about(Identity("t", False, Provider()))
    notes.started(1)
    notes.tightened(ALL)
    notes.ended(Ending(), moment, 1, 0, otlp=False)


# -- what is read of anything ----------------------------------------------------------------------

KINDS = [
    "event",
    "said",
    "dialect",
    "asked",
    "span",
    "end",
    "settled",
    "meta",
    "start",
    "policy",
    "ended",
]


@pytest.mark.parametrize("kind", ["user", "agent", "close", "", "EVENT"])
def test_records_of_the_sound_are_no_notes(kind: str) -> None:
    """Whatever they hold."""
    assert read_note(kind, object()) is None


KEYS = ["at", "t", "dir", "event", "span", "n", "parent", "ids", "metadata", "tags", "start_ns"]
KEYS += ["item", "index", "role", "text", "add", "response", "place"]
KEYS += [
    "inputs",
    "code",
    "reason",
    "failure",
    "dropped",
    "otlp",
    "by_client",
    "name",
    "attributes",
]


@pytest.mark.parametrize("kind", KINDS)
@bounded
@given(st.dictionaries(st.sampled_from(KEYS), json_values) | json_values)
def test_a_note_that_makes_no_sense_is_told(kind: str, data: Any) -> None:
    """As one kind of error, whatever stands in it."""
    try:
        found = read_note(kind, data)
    except ValueError:
        return
    assert found is not None


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_no_note(kind: str) -> None:
    """All but those that have a default for everything."""
    for data in (None, [], "text"):
        with pytest.raises(ValueError, match=r"makes no sense|not an object"):
            read_note(kind, data)


def test_what_an_earlier_version_did_not_write_has_a_default() -> None:
    """A note without its newer fields."""
    moment = {"at": 2, "t": 1}
    event = {"type": "x"}
    assert Received(event, Moment(1, 2), None, 0) == read_note("event", {**moment, "event": event})
    assert Ended(Ending(), Moment(1, 2), 0, 0, False) == read_note("ended", moment)
    assert About(None, None) == read_note("meta", {})
    assert Tightened(ContentPolicy(inputs=False, outputs=False, audio=False)) == (
        read_note("policy", {})
    )
    began = SpanBegan(1, 2, "unnamed", 3, "INTERNAL", "", {})
    assert began == read_note("span", {"span": "1", "parent": "2", "at": 3})


def test_a_response_that_is_done_is_written_at_once() -> None:
    """A whole answer, with its usage; as stricter privacy is. Else a kill may cost the last second."""
    hurried: list[int] = []
    notes = Notes(lambda kind, data: None, lambda: hurried.append(1))
    for kind in ("response.created", "response.done", "conversation.item.done"):
        notes.received({"type": kind}, Moment(1, 2), None, ALL, 1)
    assert [1] == hurried
    notes.tightened(ALL)
    assert [1, 1] == hurried
