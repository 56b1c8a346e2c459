"""Which words a hook names, in every form of event that quotes them, and where they are looked for."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.redactions import COMPLETE, PARTIAL, Words
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.core.protocol.silencing import (
    KEY,
    NamedWords,
    SpokenText,
    all_words,
    changed_spans,
    take_names,
)

TRANSCRIPTION = "conversation.item.input_audio_transcription."
SAID = "My number is 4111 1111, thanks."
HEARD: dict[str, Any] = {
    "type": TRANSCRIPTION + "completed",
    "item_id": "u",
    "content_index": 0,
    "transcript": SAID,
}


def item(name: str, role: str, *texts: str) -> dict[str, Any]:
    """A message with audio."""
    kind = "input_audio" if role == "user" else "output_audio"
    content = [{"type": kind, "transcript": text} for text in texts]
    return {"id": name, "type": "message", "role": role, "content": content}


#: Events that quote ``SAID``, each with whose words it is: item and side.
QUOTES: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    (HEARD, [("u", "user")]),
    ({**HEARD, "type": TRANSCRIPTION + "updated"}, [("u", "user")]),
    ({"type": TRANSCRIPTION + "segment", "item_id": "u", "text": SAID}, [("u", "user")]),
    (
        {"type": "response.output_audio_transcript.done", "item_id": "a", "transcript": SAID},
        [("a", "agent")],
    ),
    (
        {"type": "response.audio_transcript.done", "item_id": "a", "transcript": SAID},
        [("a", "agent")],
    ),
    (
        {
            "type": "response.content_part.done",
            "item_id": "a",
            "part": {"type": "output_audio", "transcript": SAID},
        },
        [("a", "agent")],
    ),
    ({"type": "conversation.item.done", "item": item("u", "user", SAID)}, [("u", "user")]),
    ({"type": "response.output_item.done", "item": item("a", "assistant", SAID)}, [("a", "agent")]),
    (
        {
            "type": "response.done",
            "response": {"output": [item("a", "assistant", SAID), item("b", "assistant", SAID)]},
        },
        [("a", "agent"), ("b", "agent")],
    ),
]
#: Events that quote nothing that was spoken.
OTHERS: list[dict[str, Any]] = [
    {"type": "response.output_text.done", "item_id": "a", "text": SAID},
    {"type": TRANSCRIPTION + "failed", "item_id": "u", "error": {"message": SAID}},
    {"type": "conversation.item.done", "item": item("s", "system", SAID)},
    {"type": "response.done", "response": {"output": "nonsense"}},
    {"type": "conversation.item.done", "item": {"role": ["user"], "content": {}}},
    {**HEARD, "item_id": None},
    {**HEARD, "transcript": ["x"]},
    {**HEARD, "transcript": ""},
    {"type": "session.updated", "session": {"tools": [{"parameters": {KEY: {}}}]}},
]


def named(event: dict[str, Any], answer: dict[str, Any], *, changes: bool = False) -> Any:
    """What a hook named, by item and side; the event stays as it was."""
    before = copy.deepcopy(event)
    found = take_names(event, answer, changes=changes)
    assert before == event
    return [(text.item_id, text.side, text.spans) for text in found]


def masked(value: Any) -> Any:
    """The same with ``SAID`` masked wherever it stands."""
    if isinstance(value, dict):
        return {key: masked(member) for key, member in value.items()}
    if isinstance(value, list):
        return [masked(member) for member in value]
    return "My number is [card] thanks." if value == SAID else value


@pytest.mark.parametrize(("event", "whose"), QUOTES)
def test_every_event_that_quotes_what_was_said(event: dict[str, Any], whose: Any) -> None:
    """Named by the key, named by a change, not named."""
    whole, number = ((0, len(SAID)),), ((13, 23),)
    answer = {**copy.deepcopy(event), KEY: True}
    assert [(*who, whole) for who in whose] == named(event, answer)
    assert event == answer
    assert [(*who, number) for who in whose] == named(event, masked(event), changes=True)
    assert [(*who, ()) for who in whose] == named(event, masked(event))
    assert [(*who, ()) for who in whose] == named(event, copy.deepcopy(event), changes=True)
    assert [(*who, ()) for who in whose] == named(
        event, {**masked(event), KEY: False}, changes=True
    )
    assert [(*who, whole) for who in whose] == [
        (text.item_id, text.side, text.spans) for text in all_words(event)
    ]


@pytest.mark.parametrize("event", OTHERS)
def test_other_events_name_nothing(event: dict[str, Any]) -> None:
    """The key is taken out of the event all the same; one that is no name stays."""
    answer = {**copy.deepcopy(event), KEY: True}
    assert [] == named(event, answer, changes=True)
    assert event == answer


@pytest.mark.parametrize(
    ("given_spans", "expected"),
    [
        ([[13, 17], [18, 22]], ((13, 17), (18, 22))),
        ([[13, 10**9]], ((13, len(SAID)),)),
        ([], ()),
        ([[5, 5]], ()),
        ([[5, 3]], ((0, len(SAID)),)),
        ([[-5, 3]], ((0, len(SAID)),)),
        ([["a", 3]], ((0, len(SAID)),)),
        ([[True, 3]], ((0, len(SAID)),)),
        (["all"], ((0, len(SAID)),)),
        ("all", ((0, len(SAID)),)),
        (0, ((0, len(SAID)),)),
        ({}, ((0, len(SAID)),)),
        (None, ()),
    ],
)
def test_spans_are_read_and_nonsense_is_all_of_it(given_spans: Any, expected: Any) -> None:
    """Too much rather than too little."""
    assert [("u", "user", expected)] == named(HEARD, {**HEARD, KEY: given_spans})


def test_a_name_stands_next_to_the_text_or_above_it() -> None:
    """The nearest one counts; spans further up could be of any of several texts."""
    event = {"type": "conversation.item.done", "item": item("a", "assistant", "one two", "three")}
    spans = [[0, 3]]

    def answer(**where: Any) -> dict[str, Any]:
        given = copy.deepcopy(event)
        for place, value in where.items():
            holder: Any = {"event": given, "item": given["item"]}.get(place)
            if holder is None:
                holder = given["item"]["content"][int(place[-1])]
            holder[KEY] = value
        return given

    for given_names, expected in (
        ({"part0": spans}, (((0, 3),), ())),
        ({"item": True}, (((0, 7),), ((0, 5),))),
        ({"item": spans}, (((0, 7),), ((0, 5),))),
        ({"event": True, "part0": False}, ((), ((0, 5),))),
        ({"event": False, "item": True, "part1": spans}, (((0, 7),), ((0, 3),))),
    ):
        given = answer(**given_names)
        assert expected == tuple(text.spans for text in take_names(event, given, changes=False))
        assert event == given


def test_a_text_that_the_hook_took_away_is_named_whole() -> None:
    """With its part, with its item, or made something else."""
    event = {"type": "conversation.item.done", "item": item("a", "assistant", SAID)}
    for answer in ({}, {"item": None}, {"item": {"content": []}}, {"item": {"content": [7]}}):
        assert [("a", "agent", ((0, len(SAID)),))] == named(event, answer, changes=True)
    assert [("u", "user", ((0, len(SAID)),))] == named(
        HEARD, {**HEARD, "transcript": 5}, changes=True
    )


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        ("a b c", "a b c", []),
        ("a b c", "a  b\nc ", []),
        ("a b c", "a b c [checked]", []),
        ("a b c", "a x b c", []),
        ("a b c", "a c", ["b"]),
        ("a b c", "", ["a b c"]),
        ("a b c", None, ["a b c"]),
        ("a b c", "[hidden]", ["a b c"]),
        ("Pay 4111 1111 now, or 4222 later", "Pay * now, or * later", ["4111 1111", "4222"]),
        ("a a a", "a a", ["a"]),
        ("我的号码是四一一一", "我的号码是…", ["我的号码是四一一一"]),
    ],
)
def test_changed_words(before: str, after: Any, gone: list[str]) -> None:
    """Whole words that are no longer there; what was added says nothing."""
    assert gone == [before[start:end] for start, end in changed_spans(before, after)]


@given(
    st.lists(st.sampled_from("abcd"), max_size=30), st.lists(st.sampled_from("abcd"), max_size=30)
)
def test_what_is_not_named_was_kept(old: list[str], new: list[str]) -> None:
    """Without the named words the old text is a part of the new one, in its order."""
    before = " ".join(old)
    left = list(before)
    for start, end in changed_spans(before, " ".join(new)):
        left[start:end] = " " * (end - start)
    rest = iter(new)
    assert all(word in rest for word in "".join(left).split())


def test_a_long_text_costs_little() -> None:
    """Thousands of words of which each has changed: one span, no comparison of each with each."""
    old = " ".join(f"a{number}" for number in range(20_000))
    assert ((0, len(old)),) == changed_spans(old, old.replace("a", "b"))


# --- where they are looked for --------------------------------------------------------------------


def segment(text: str, start: Any = None, end: Any = None, *, of: str = "u") -> SpokenText:
    """A segment as the wire has it; nothing of it is named."""
    event = {
        "type": TRANSCRIPTION + "segment",
        "item_id": of,
        "text": text,
        "start": start,
        "end": end,
    }
    (found,) = take_names(event, dict(event), changes=False)
    return found


def whole_text(text: str, *gone: str, side: str = "user") -> SpokenText:
    """A complete text, some of whose words are named."""
    spans = tuple((text.index(words), text.index(words) + len(words)) for words in gone)
    return SpokenText(item_id="u", side=side, text=text, spans=spans)


WHOLE = [(Words("user", "u"), None)]
SEGMENTS = [
    segment("My number is", 0, 1.5),
    segment(" 4111 1111,", 1.5, 3.1),
    segment("bye.", 4, 5),
]
TEXT = "My number is 4111 1111, bye."


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        (("4111",), [(1_500, 3_100)]),
        (("4111 1111,",), [(1_500, 3_100)]),
        (("is 4111",), [(0, 1_500), (1_500, 3_100)]),
        (("My", "bye."), [(0, 1_500), (4_000, 5_000)]),
        ((), []),
    ],
)
def test_words_are_silenced_with_their_segments(gone: Any, expected: Any) -> None:
    """Those they stand in, by the times these have in the item."""
    names = NamedWords()
    names.words(SEGMENTS)
    assert [(Words("user", "u", *times), None) for times in expected] == names.words(
        [whole_text(TEXT, *gone)]
    )
    # An echo of the same text says the same.
    assert len(expected) == len(names.words([whole_text(TEXT, *gone)]))


@pytest.mark.parametrize(
    "segments",
    [
        [],
        [segment("My number is", 0, 1.5)],
        [segment("My number was", 0, 1), segment("4111", 1, 2)],
        [segment("My number is"), segment("4111 1111,", 1)],
        [segment("4111 1111, bye.", "1", float("nan"))],
        [segment(TEXT, 0, 5, of="another")],
    ],
)
def test_without_all_its_segments_the_item_is_silenced(segments: list[SpokenText]) -> None:
    """Words that are in no segment, or in one without times, could be anywhere in it."""
    names = NamedWords()
    names.words(segments)
    assert WHOLE == names.words([whole_text(TEXT, "number is 4111 1111,")])


def test_a_segment_may_be_named_itself() -> None:
    """By its own times, else with the item."""
    for start, end, expected in (
        (1.1, 2.2, [Words("user", "u", 1_100, 2_200)]),
        (0.0005, 0.0015, [Words("user", "u", 0, 2)]),
        (0, None, [Words("user", "u")]),
        (True, 2, [Words("user", "u")]),
    ):
        event = {"type": TRANSCRIPTION + "segment", "item_id": "u", "text": "4111"}
        event |= {"start": start, "end": end}
        texts = take_names(event, {**event, KEY: True}, changes=False)
        assert [(words, None) for words in expected] == NamedWords().words(texts)


def test_a_text_that_grows_holds_its_item_until_it_is_complete() -> None:
    """Then only what is named in the whole text."""
    names = NamedWords()
    assert [(Words("user", "u"), PARTIAL)] == names.words([whole_text("41 oh", "41")], partial=True)
    assert [] == names.words([whole_text("no number")], partial=True)
    assert [(Words("user", "u"), COMPLETE)] == names.words([whole_text("no number")])
    assert [] == names.words([whole_text("no number")])
    event = {**HEARD, "status": "in_progress"}
    texts = take_names(event, {**event, KEY: True}, changes=False)
    assert [(Words("user", "u"), PARTIAL)] == names.words(texts)
    assert [(Words("user", "u"), COMPLETE), *WHOLE] == names.words([whole_text("4111", "4111")])


def test_memory_is_bounded() -> None:
    """A server whose texts never become complete."""
    names = NamedWords()
    for number in range(1_000):
        names.words([segment("a", 0, 1, of=f"item_{number}")])
    assert 64 == len(names._segments)


# --- through the policy -----------------------------------------------------------------------------


@pytest.mark.parametrize("silences", [True, False])
def test_a_hook_that_fails_names_all_words_if_changes_count(silences: bool) -> None:
    """Nobody knows what it would have taken out."""

    def fail(event: Any) -> Any:
        raise RuntimeError("no")

    for hook in (fail, lambda event: None):
        policy = ContentPolicy(redact=hook, silences=silences)
        spans = [text.spans for text in policy.admit(HEARD).spoken]
        assert ([((0, len(SAID)),)] if silences else []) == spans


def test_the_key_is_never_stored() -> None:
    """Wherever the hook has set it; values that are no JSON included."""
    event = {"type": "response.done", "response": {"output": [item("a", "assistant", SAID)]}}

    def hook(payload: Any) -> Any:
        payload[KEY] = ((0, 2),)
        payload["response"][KEY] = object()
        payload["response"]["output"][0][KEY] = payload
        payload["response"]["output"][0]["content"][0][KEY] = ((0, 2),)
        return payload

    def plain(payload: Any) -> Any:
        payload["response"]["output"][0]["content"][0][KEY] = ((0, 2),)
        return payload

    assert [((0, 2),)] == [text.spans for text in ContentPolicy(redact=plain).admit(event).spoken]
    for redact in (hook, plain):
        assert KEY not in str(ContentPolicy(redact=redact).apply(event))


def test_without_a_hook_nothing_is_named() -> None:
    """And nothing is looked for."""
    assert () == ContentPolicy(silences=True).admit(HEARD).spoken


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**19) | st.floats() | st.sampled_from(["", SAID, "u"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["item", "part", "content", "output", "response", "transcript", "text", "id",
                 "role", "start", "end", "status", KEY]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)  # fmt: skip
FIELDS = st.dictionaries(
    st.sampled_from(
        ["item_id", "item", "part", "response", "transcript", "text", "start", "end", KEY]
    ),
    JSON,
    max_size=6,
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([event["type"] for event, _ in QUOTES]), FIELDS, FIELDS, st.booleans()
        ),
        max_size=5,
    )
)
def test_no_event_and_no_answer_is_too_odd(told: list[Any]) -> None:
    """Whatever the server and the hook write: words of items, or nothing; the key is never stored."""
    names = NamedWords()
    for kind, fields, answer, fails in told:

        def hook(event: Any, answer: Any = answer, fails: bool = fails) -> Any:
            return None if fails else {**event, **answer}

        for silences in (True, False):
            event = {**fields, "type": kind}
            event.pop(KEY, None)
            admitted = ContentPolicy(redact=hook, silences=silences).admit(event)
            assert KEY not in admitted.event
            for words, _ in names.words(admitted.spoken):
                assert words.side in ("user", "agent")
                assert words.item_id
                assert words.from_ms is None or words.from_ms >= 0
