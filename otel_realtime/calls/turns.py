"""The turns of a call: from the root's transcript, or from its events where that is missing.

The root has no transcript while the call goes on, and a shortened one where a long call's root went
by OTLP (``Settings.payload_limit``). Then the words come from the events, and with the turns that
the root does have come their times. Which items a turn has is known from the events alone.
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

#: What ``core.protocol.json_text`` puts in the place of what it cut.
_CUT: Final = re.compile(r"… \[\d+ more characters\]\Z")
_ROLES: Final = frozenset({"user", "assistant"})
#: How many items may lie between two of one turn.
_NEAR: Final = 8
#: What stands for a user's audio without a transcript.
_UNHEARD: Final = "[audio]"


def transcript(root: Row) -> list[Mapping[str, Any]] | None:
    """Return the turns of the root's transcript; None if it has none, or a shortened one."""
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
    """Return the turns of a call, without what belongs to them.

    Args:
        root: the root.
        heard: what the events tell.
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
    """Say which items the turns of the transcript have.

    Usually the events tell of the same turns. Where they do not, because items were moved, or events
    left no span, the words decide: a turn's text is the text of its items, one after the other.
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
            for _ in range(found):  # of no turn: nobody heard it
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
    """Return the words that were heard of a cut answer, by the share of its audio."""
    if made_by is None or made_by["heard_ms"] is None or not made_by["generated_ms"]:
        return said
    length = (
        len(said) * min(made_by["heard_ms"], made_by["generated_ms"]) // made_by["generated_ms"]
    )
    return said if length >= len(said) else said[:length].rpartition(" ")[0]
