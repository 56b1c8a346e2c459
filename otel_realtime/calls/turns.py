"""Builds the turns of a call from the root's transcript, or from its events if that is missing.

The root has no transcript while the call goes on, and a shortened one if the root of a long call was
sent by OTLP (``Settings.payload_limit``). Then the words come from the events, and the times come from
those turns that the root has. Only the events say which items a turn has.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, cast

from otel_realtime import attributes as names
from otel_realtime.calls.events import Heard, HeardOf
from otel_realtime.calls.rows import Row, integer, mapping, text
from otel_realtime.calls.schema import Response, Role, Turn

#: The text with which ``core.protocol.json_text`` replaces the part that it cuts off.
_CUT: Final = re.compile(r"… \[\d+ more characters\]\Z")
_ROLES: Final = frozenset({"user", "assistant"})
#: How many items of its role are searched for the next item of a turn.
_NEAR: Final = 8
#: Text of a user's audio without a transcript.
_UNHEARD: Final = "[audio]"


def transcript(root: Row) -> list[Mapping[str, Any]] | None:
    """Return the turns of the root's transcript; None if it is missing or shortened."""
    messages = mapping(root.json(names.COMPLETION)).get("messages")
    if not isinstance(messages, list):
        return None
    return messages if not any(map(_is_cut, messages)) else None


def _is_cut(message: object) -> bool:
    said = mapping(message)
    if text(said.get("role")) not in _ROLES:
        return True
    return any(_CUT.search(value) for value in said.values() if isinstance(value, str))


def turns_of(root: Row, heard: Heard, responses: Sequence[Response]) -> list[Turn]:
    """Return the turns of a call, without their responses, tools, latency and usage.

    Args:
        root: the root span.
        heard: the items as read from the event spans.
        responses: the call's responses.
    """
    told = transcript(root)
    turns = _from_events(heard, {one["id"]: one for one in responses if one["id"]})
    if told is not None:
        whole = [_told(index, message) for index, message in enumerate(told)]
        _name_items(whole, turns, heard)
        return whole
    shortened = mapping(root.json(names.COMPLETION)).get("messages")
    for turn, message in zip(turns, shortened if isinstance(shortened, list) else (), strict=False):
        if mapping(message).get("role") == turn["role"]:
            turn["start_ms"], turn["end_ms"] = _times(message)
            turn["interrupted"] = message.get("interrupted") is True
    return turns


def _times(message: Mapping[str, Any]) -> tuple[int | None, int | None]:
    return integer(message.get("start_ms")), integer(message.get("end_ms"))


def _told(index: int, message: Mapping[str, Any]) -> Turn:
    said = text(message.get("text")) or ""
    heard = message.get("heard_text")
    turn = _turn(index, cast("Role", message["role"]))
    turn["start_ms"], turn["end_ms"] = _times(message)
    turn["text"], turn["heard_text"] = said, heard if isinstance(heard, str) else said
    turn["interrupted"] = message.get("interrupted") is True
    segments = message.get("segments")
    if isinstance(segments, list):
        turn["segments"] = [dict(one) for one in segments if isinstance(one, Mapping)]
    return turn


def _name_items(told: Sequence[Turn], from_events: Sequence[Turn], heard: Heard) -> None:
    """Fill in the item ids of the turns of the transcript.

    Usually the events give the same turns. If they do not, because items were moved or events left no
    span, items are matched by their words: a turn's text is the text of its items in order.
    """
    if [turn["role"] for turn in told] == [turn["role"] for turn in from_events]:
        for turn, same in zip(told, from_events, strict=True):
            turn["item_ids"] = same["item_ids"]
        return
    left = {
        role: deque(item for item in heard.items.values() if item.role == role and item.text)
        for role in _ROLES
    }
    for turn in told:
        rest, waiting = turn["text"], left[turn["role"]]
        while rest:
            near = islice(waiting, _NEAR)
            found = next((n for n, item in enumerate(near) if rest.startswith(item.text)), None)
            if found is None:
                break
            for _ in range(found):  # not in a turn: it was never heard
                waiting.popleft()
            item = waiting.popleft()
            turn["item_ids"].append(item.id)
            rest = rest[len(item.text) :].lstrip()


def _turn(index: int, role: Role) -> Turn:
    return {
        "index": index,
        "role": role,
        "start_ms": None,
        "end_ms": None,
        "text": "",
        "heard_text": "",
        "interrupted": False,
        "false_interruption": None,
        "generated_ms": None,
        "heard_ms": None,
        "heard_source": None,
        "item_ids": [],
        "responses": [],
        "tools": [],
        "latency": None,
        "usage": None,
    }


def _from_events(heard: Heard, responses: Mapping[str, Response]) -> list[Turn]:
    turns: list[Turn] = []
    for item in heard.items.values():
        made_by = responses.get(item.response or "")
        spoken = item.role == "user" and item.audio and not item.idle
        said = item.text or (_UNHEARD if spoken else "")
        if item.role not in _ROLES or not said or (made_by is not None and made_by["out_of_band"]):
            continue
        if not turns or turns[-1]["role"] != item.role:
            turns.append(_turn(len(turns), cast("Role", item.role)))
        _extend(turns[-1], item, said, made_by)
    return turns


def _extend(turn: Turn, item: HeardOf, said: str, made_by: Response | None) -> None:
    start_ms, end_ms = item.start_ms, item.end_ms
    if made_by is not None and made_by["first_audio_ms"] is not None:
        start_ms = made_by["start_ms"] + made_by["first_audio_ms"]
        heard_ms = made_by["heard_ms"]
        end_ms = None if heard_ms is None else start_ms + heard_ms
    if turn["start_ms"] is None:
        turn["start_ms"] = start_ms
    turn["end_ms"] = end_ms if turn["end_ms"] is None else max(turn["end_ms"], end_ms or 0)
    turn["item_ids"].append(item.id)
    turn["text"] = _joined((turn["text"], said))
    cut = made_by is not None and made_by["interrupted"] is True
    turn["interrupted"] = turn["interrupted"] or cut
    turn["heard_text"] = _joined((turn["heard_text"], _share(said, made_by) if cut else said))


def _joined(parts: Iterable[str]) -> str:
    return " ".join(part for part in parts if part)


def _share(said: str, made_by: Response | None) -> str:
    """Return the words of an interrupted answer that were heard, estimated from the audio played."""
    if made_by is None or made_by["heard_ms"] is None or not made_by["generated_ms"]:
        return said
    length = (
        len(said) * min(made_by["heard_ms"], made_by["generated_ms"]) // made_by["generated_ms"]
    )
    return said if length >= len(said) else said[:length].rpartition(" ")[0]
