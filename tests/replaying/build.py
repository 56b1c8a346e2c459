"""Logs to replay."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from tests.support.talking import tone

SESSION = {
    "type": "session.created",
    "session": {
        "id": "s", "type": "realtime", "model": "gpt-realtime",
        "audio": {
            side: {"format": {"type": "audio/pcm", "rate": 24_000}} for side in ("input", "output")
        },
    },
}  # fmt: skip


def append(ms: int, hz: float = 330) -> dict[str, Any]:
    """Audio of the user."""
    audio = base64.b64encode(tone(ms, hz)).decode()
    return {"type": "input_audio_buffer.append", "audio": audio}


def delta(n: int, ms: int) -> dict[str, Any]:
    """Audio of the agent."""
    keys = {"response_id": f"r{n}", "item_id": f"a{n}", "content_index": 0}
    audio = base64.b64encode(tone(ms, 550)).decode()
    return {"type": "response.output_audio.delta", **keys, "delta": audio}


def turn(n: int, user_ms: int = 1_000, agent_ms: int = 1_000) -> list[tuple[str, dict[str, Any]]]:
    """The user asks, pushing to talk, and the agent answers: rows with their direction."""
    user, agent, response = f"u{n}", f"a{n}", f"r{n}"
    item = {"id": agent, "type": "message", "role": "assistant", "content": []}
    words = f"Answer number {n}."
    done = {**item, "content": [{"type": "output_audio", "transcript": words}]}
    keys = {"response_id": response, "item_id": agent, "content_index": 0}
    usage = {"total_tokens": 3, "input_tokens": 1, "output_tokens": 2}
    return [
        *(("sent", append(100)) for _ in range(user_ms // 100)),
        ("sent", {"type": "input_audio_buffer.commit"}),
        ("recv", {"type": "input_audio_buffer.committed", "item_id": user}),
        (
            "recv",
            {
                "type": "conversation.item.added",
                "item": {
                    "id": user, "type": "message", "role": "user",
                    "content": [{"type": "input_audio", "transcript": f"Question number {n}?"}],
                },
            },
        ),
        ("sent", {"type": "response.create"}),
        ("recv", {"type": "response.created", "response": {"id": response, "conversation_id": "c"}}),
        ("recv", {"type": "response.output_item.added", "response_id": response, "item": item}),
        *(("recv", delta(n, 200)) for _ in range(agent_ms // 200)),
        ("recv", {"type": "response.output_audio_transcript.done", **keys, "transcript": words}),
        (
            "recv",
            {
                "type": "response.done",
                "response": {
                    "id": response, "status": "completed", "output": [done], "usage": usage,
                },
            },
        ),
    ]  # fmt: skip


def timed(turns: int, user_ms: int = 1_000, agent_ms: int = 1_000) -> list[dict[str, Any]]:
    """A call without a pause in it, with times."""
    t, found = 0, [{"dir": "recv", "event": SESSION, "t_ms": 0}]
    for n in range(1, turns + 1):
        for direction, event in turn(n, user_ms, agent_ms):
            t += 100 if event["type"] == "input_audio_buffer.append" else 0
            found.append({"dir": direction, "event": event, "t_ms": t})
        t += agent_ms
    found.append({"dir": "recv", "event": {"type": "rate_limits.updated"}, "t_ms": t})
    return found


def write(path: Path, rows: list[Any]) -> Path:
    """A log of these rows; texts stand as they are."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
