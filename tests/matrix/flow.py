"""One short call as an app holds it, whatever library it uses: a question, a tool, a spoken answer.

Knows no socket: it is told each event, and says what to send. Runs in the environments of the matrix,
so it imports nothing that a client does not need.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import trace

import otel_realtime

Json = dict[str, Any]
QUERY = "/realtime?model=gpt-realtime"
SESSION: Json = {"type": "realtime", "output_modalities": ["audio"]}
QUESTION: Json = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "What colour is the sky?"}],
}
#: A tenth of a second of silence, PCM16 at 24 kHz.
SILENCE = base64.b64encode(bytes(4800)).decode()
#: How long the tool takes, in seconds.
TOOL_S = 0.1


@dataclass
class Talk:
    """What a client is run with.

    Attributes:
        url: the server's, ``ws://HOST:PORT/v1``.
        asked: what the tool found out about the conversation that it was run for.
    """

    url: str
    asked: list[str | None] = field(default_factory=list)

    @property
    def http(self) -> str:
        """The same for clients that want ``http://``."""
        return self.url.replace("ws://", "http://", 1)

    def look_up(self, what: str = "") -> str:
        """Look something up: the tool, with a span of the app's own inside."""
        call = otel_realtime.current_conversation()
        self.asked.append(call.thread_id if call is not None else None)
        with trace.get_tracer("app").start_as_current_span("request"):
            time.sleep(TOOL_S)
        return "blue"


class Flow:
    """The app's side of a raw connection.

    Args:
        talk: what the client is run with.

    Attributes:
        over: the answer has been spoken: hang up.
    """

    def __init__(self, talk: Talk) -> None:
        self.over = False
        self._talk = talk

    def on(self, event: Mapping[str, Any]) -> list[Json]:
        """Return what to send after an event."""
        if event["type"] == "session.created":
            return [
                {"type": "session.update", "session": SESSION},
                {"type": "input_audio_buffer.append", "audio": SILENCE},
                {"type": "conversation.item.create", "item": QUESTION},
                {"type": "response.create"},
            ]
        if event["type"] != "response.done":
            return []
        replies: list[Json] = []
        for item in event["response"]["output"]:
            if item["type"] == "function_call":
                said = self._talk.look_up(**json.loads(item["arguments"]))
                output = {
                    "type": "function_call_output",
                    "call_id": item["call_id"],
                    "output": json.dumps(said),
                }
                replies += [
                    {"type": "conversation.item.create", "item": output},
                    {"type": "response.create"},
                ]
        self.over = not replies
        return replies

    def on_text(self, frame: str | bytes) -> list[str]:
        """The same, in frames."""
        return [json.dumps(reply) for reply in self.on(json.loads(frame))]


Client = Callable[[Talk], None]
