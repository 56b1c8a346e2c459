"""Whole calls of every event family, and the damage that a seed does to one of them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

from tests.support.case_files import CASES, START_NS, rows
from tests.support.odd_values import deep
from tests.support.streams import CALL, FOLDER, MS

#: One row of a call: who sent it, what, and when (epoch ns; None: the app gives no time).
Told = dict[str, Any]

ODD: list[Any] = [
    None, True, False, 0, -1, 2**63, -(2**70), 1.5, 1e308, float("nan"), float("inf"),
    float("-inf"), "", " ", "x" * 50_000, "\ud800", "a\x00b", "NaN", [], {}, [[]], [None], {"": None},
    {"type": None}, [{"type": "text", "text": 7}], deep(60),
]  # fmt: skip

#: Families that neither the recorded streams nor the cases have.
RARE: list[tuple[bool, dict[str, Any]]] = [
    (False, {"type": "transcription_session.created", "session": {"id": "sess_t"}}),
    (True, {"type": "transcription_session.update", "session": {"input_audio_format": "pcm16"}}),
    (False, {"type": "transcription_session.updated", "session": {"input_audio_format": "pcm16"}}),
    (False, {"type": "input_audio_buffer.dtmf_event_received", "event": "9", "received_at": 1}),
    (True, {"type": "input_audio_buffer.commit"}),
    (True, {"type": "input_audio_buffer.clear"}),
    (False, {"type": "input_audio_buffer.cleared"}),
    (False, {"type": "input_audio_buffer.timeout_triggered", "item_id": "item_1",
             "audio_start_ms": 0, "audio_end_ms": 900}),
    (True, {"type": "output_audio_buffer.clear"}),
    (False, {"type": "output_audio_buffer.cleared", "response_id": "resp_1"}),
    (True, {"type": "conversation.item.retrieve", "item_id": "item_1"}),
    (False, {"type": "conversation.item.retrieved", "item": {"id": "item_1", "type": "message"}}),
    (True, {"type": "conversation.item.delete", "item_id": "item_1"}),
    (False, {"type": "conversation.item.deleted", "item_id": "item_1"}),
    (False, {"type": "mcp_list_tools.failed", "item_id": "mcpl_1"}),
    (False, {"type": "response.mcp_call_arguments.done", "item_id": "mcp_1", "arguments": "{}"}),
    (False, {"type": "response.mcp_call.failed", "item_id": "mcp_1"}),
    (False, {"type": "response.text.done", "item_id": "item_3", "content_index": 0, "text": "hi"}),
]  # fmt: skip


@cache
def calls(*, recorded: bool) -> tuple[tuple[str, tuple[Told, ...]], ...]:
    """Every whole call there is, by name.

    Args:
        recorded: also the recorded streams, where they are present; then seeds mean other calls.
    """
    made = [*CALL, *RARE]
    found = [("made", tuple(_row(sent, event, 10 * at) for at, (sent, event) in enumerate(made)))]
    for path in [
        *sorted(CASES.glob("*.jsonl")),
        *sorted(FOLDER.glob("*.jsonl") if recorded else ()),
    ]:
        told = [
            _row(row["dir"] == "sent", row["event"], int(row.get("t_ms") or 10 * at))
            for at, row in enumerate(rows(path))
        ]
        found.append((path.stem, tuple(told)))
    return tuple(found)


def _row(sent: bool, event: dict[str, Any], t_ms: int) -> Told:
    return {"sent": sent, "event": event, "at_ns": START_NS + t_ms * MS}


class Mutator:
    """Damages a copy of a call.

    Args:
        chance: decides what, and where.
        recorded: takes recorded streams as well.

    Attributes:
        name: which call it is.
        told: its rows as they are to be reported.
    """

    def __init__(self, chance: random.Random, *, recorded: bool) -> None:
        self._chance = chance
        self.name, rows_ = chance.choice(calls(recorded=recorded))
        self.told: list[Told] = copy.deepcopy(list(rows_))
        self.ids = sorted({value for row in rows_ for value in _ids(row["event"])}) or [""]
        if chance.random() < 0.2:  # an app that gives no times
            for row in self.told:
                row["at_ns"] = None

    def damage(self, times: int) -> None:
        """Do so many things to it, then write some frames as text or bytes."""
        ways = [
            self.value, self.value, self.value, self.drop_key, self.swap_id, self.swap_id,
            self.delete, self.double, self.swap_rows, self.move_stretch, self.rare, self.time,
            self.cut, self.kind, self.list_entry,
        ]  # fmt: skip
        for _ in range(times):
            if self.told:
                self._chance.choice(ways)()
        for row in self.told:
            if isinstance(row["event"], dict) and self._chance.random() < 0.5:
                text = json.dumps(row["event"], ensure_ascii=self._chance.random() < 0.7)
                as_bytes = self._chance.random() < 0.3
                row["event"] = text.encode("utf-8", "surrogatepass") if as_bytes else text

    def _any(self) -> Told:
        return self._chance.choice(self.told)

    def _place(self, event: Any) -> tuple[Any, Any] | None:
        """A container somewhere in an event, and a key or index of it."""
        places = list(_places(event))
        return self._chance.choice(places) if places else None

    def value(self) -> None:
        """Another value, of whatever type."""
        place = self._place(self._any()["event"])
        if place is not None:
            place[0][place[1]] = copy.deepcopy(self._chance.choice(ODD))

    def drop_key(self) -> None:
        place = self._place(self._any()["event"])
        if place is not None:
            del place[0][place[1]]

    def list_entry(self) -> None:
        """An entry of a list stands twice, or beside something odd."""
        lists = [c[k] for c, k in _places(self._any()["event"]) if isinstance(c[k], list)]
        if lists:
            found = self._chance.choice(lists)
            found.insert(0, copy.deepcopy(self._chance.choice([*found, *ODD])))

    def swap_id(self) -> None:
        """One id of the call in the place of another."""
        row = self._any()
        places = [p for p in _places(row["event"]) if _is_id(*p)]
        if places:
            container, key = self._chance.choice(places)
            container[key] = self._chance.choice([*self.ids, ""])

    def kind(self) -> None:
        """The body of one event under the type of another."""
        one, other = self._any()["event"], self._any()["event"]
        if isinstance(one, dict) and isinstance(other, dict):
            one["type"] = other.get("type")

    def delete(self) -> None:
        self.told.remove(self._any())

    def double(self) -> None:
        at = self._chance.randrange(len(self.told) + 1)
        self.told.insert(at, copy.deepcopy(self._any()))

    def swap_rows(self) -> None:
        one, other = (self._chance.randrange(len(self.told)) for _ in range(2))
        self.told[one], self.told[other] = self.told[other], self.told[one]

    def move_stretch(self) -> None:
        """Several events come later or earlier, with their times."""
        start = self._chance.randrange(len(self.told))
        stretch = self.told[start : start + 8]
        del self.told[start : start + 8]
        at = self._chance.randrange(len(self.told) + 1)
        self.told[at:at] = stretch

    def rare(self) -> None:
        """An event of a family that the recorded calls lack, with ids of this call."""
        sent, event = copy.deepcopy(self._chance.choice(RARE))
        for container, key in list(_places(event)):
            if _is_id(container, key) and self._chance.random() < 0.7:
                container[key] = self._chance.choice(self.ids)
        at = self._chance.randrange(len(self.told))
        self.told.insert(at, {"sent": sent, "event": event, "at_ns": self.told[at]["at_ns"]})

    def time(self) -> None:
        """A wrong time; none between 30 s and an hour ahead, which would be real silence."""
        row = self._any()
        near = row["at_ns"] if isinstance(row["at_ns"], int) else START_NS
        row["at_ns"] = self._chance.choice(
            [None, 0, -1, -(2**70), 2**70, 1.5, float("nan"), float("inf"), "soon", True, [],
             near + 10**10, near - 10**9, near - 10**11, near + 10**13, near - 10**15,
             float(near), near // 1000, near * 1000]
        )  # fmt: skip

    def cut(self) -> None:
        """A frame that is no JSON any more."""
        row = self._any()
        text = (
            row["event"] if isinstance(row["event"], str) else json.dumps(row["event"], default=str)
        )
        at = self._chance.randrange(len(text) + 1)
        row["event"] = self._chance.choice(
            [text[:at], text[:at] + "\ud800" + text[at:], text[:at].encode("utf-8", "replace") + b"\xff",
             f"[{text}]", "[" * 100_000, '{"type":' * 5_000, text[:at] + text[at + 1 :]]
        )  # fmt: skip


def _is_id(container: Any, key: Any) -> bool:
    return isinstance(key, str) and key.endswith("id") and isinstance(container[key], str)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a value with each of its keys or indices, not too deep."""
    left = [(value, 0)]
    while left:
        one, depth = left.pop()
        keys: Any = (
            one if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        )
        for key in keys:
            yield one, key
            if depth < 12:
                left.append((one[key], depth + 1))


def _ids(event: Any) -> Iterator[str]:
    for container, key in _places(event):
        if _is_id(container, key):
            yield container[key]
