"""Writes a call as readable text: who said what when, what was not heard, and which tools ran."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from otel_realtime.calls.captions import SPEAKERS
from otel_realtime.calls.schema import Call, Tool, Turn

#: Most characters of a tool's arguments, and of its result.
_CHARACTERS: Final = 200


def transcript(call: Call) -> str:
    """Return the call as text: a heading, then the lines of each turn."""
    return "\n".join([*_head(call), "", *_turns(call)]) + "\n"


def _head(call: Call) -> Iterator[str]:
    title = call["name"] if call["thread_id"] is None else f"{call['name']}, {call['thread_id']}"
    yield _line(title)
    duration = call["duration_ms"]
    about = [
        call["started_at"],
        "still going on" if duration is None else f"{duration / 1_000:.1f} s",
        call["model"],
        call["voice"],
    ]
    yield ", ".join(_line(one) for one in about if one)
    if call["error"] is not None:
        yield f"Ended by an error: {_line(call['error'])}"


def _turns(call: Call) -> Iterator[str]:
    for turn in call["turns"]:
        for index in turn["tools"]:
            yield _tool(call["tools"][index])
        yield from _turn(turn)
    for tool in call["tools"]:
        if tool["turn"] is None:
            yield _tool(tool)


def _turn(turn: Turn) -> Iterator[str]:
    speaker, heard, text = SPEAKERS[turn["role"]], _line(turn["heard_text"]), _line(turn["text"])
    times = f"[{_clock(turn['start_ms'])} - {_clock(turn['end_ms'])}]"
    if not turn["interrupted"]:
        yield f"{times} {speaker}: {text}"
        return
    yield f"{times} {speaker} (interrupted): {heard}"
    unheard = text.removeprefix(heard).strip()
    if unheard:
        yield f"{' ' * len(times)} not heard: {unheard}"


def _tool(tool: Tool) -> str:
    waited = "" if tool["waited_ms"] is None else f" in {tool['waited_ms']} ms"
    ending = f"failed: {_line(tool['error'])}" if tool["error"] else _value(tool["result"])
    return f"    {_line(tool['name'])}({_value(tool['arguments'])}){waited}: {ending}"


def _value(value: Any) -> str:
    if value is None:
        return ""
    text = _line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _CHARACTERS else text[:_CHARACTERS] + "…"


def _line(text: str) -> str:
    """Return a text in one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _clock(at_ms: int | None) -> str:
    if at_ms is None:
        return "--:--.-"
    minutes, tenths = divmod(at_ms // 100, 600)
    return f"{minutes:02}:{tenths // 10:02}.{tenths % 10}"
