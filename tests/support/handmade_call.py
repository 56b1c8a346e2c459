"""A short call as messages: a session, a spoken turn, an answer with a tool call."""

from __future__ import annotations

import base64
from typing import Any, Final

from tests.support.talking import tone

ITEM: Final = "item_2"


def _delta(ms: int) -> dict[str, Any]:
    return {
        "type": "response.output_audio.delta",
        "response_id": "resp_1",
        "item_id": ITEM,
        "content_index": 0,
        "delta": base64.b64encode(tone(ms)).decode(),
    }


MESSAGES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("r", {"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime"}}),
    ("s", {"type": "input_audio_buffer.append", "audio": base64.b64encode(tone(200)).decode()}),
    ("r", {"type": "input_audio_buffer.committed", "item_id": "item_1"}),
    ("r", {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}),
    ("r", _delta(200)),
    (
        "r",
        {
            "type": "response.done",
            "response": {
                "id": "resp_1",
                "status": "completed",
                "output": [
                    {
                        "id": ITEM,
                        "type": "message",
                        "role": "assistant",
                        "content": [{"type": "output_audio", "transcript": "Hello."}],
                    },
                    {
                        "id": "item_3",
                        "type": "function_call",
                        "call_id": "call_1",
                        "name": "look_up",
                        "arguments": "{}",
                    },
                ],
            },
        },
    ),
)
"""``r``: received, ``s``: sent."""
