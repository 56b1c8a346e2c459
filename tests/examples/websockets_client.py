"""The Realtime API over a bare ``websockets`` connection: each line typed is a question.

::

    pip install otel-realtime
    export OPENAI_API_KEY=sk-... LANGSMITH_TRACING=true LANGSMITH_API_KEY=lsv2_...
    python websockets_client.py
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

import otel_realtime

URL = os.environ.get("REALTIME_URL", "wss://api.openai.com/v1")
MODEL = "gpt-realtime"
SESSION = {"type": "realtime", "output_modalities": ["text"], "instructions": "Answer briefly."}


async def send(socket: ClientConnection, kind: str, **fields: Any) -> None:
    """Send one client event."""
    await socket.send(json.dumps({"type": kind, **fields}))


async def ask(socket: ClientConnection, question: str) -> str:
    """Ask one question and return the answer."""
    content = [{"type": "input_text", "text": question}]
    item = {"type": "message", "role": "user", "content": content}
    await send(socket, "conversation.item.create", item=item)
    await send(socket, "response.create")
    text = ""
    async for frame in socket:
        event = json.loads(frame)
        if event["type"] == "response.output_text.delta":
            text += event["delta"]
        elif event["type"] == "error":
            print("error:", event["error"]["message"], file=sys.stderr)
        elif event["type"] == "response.done":
            break
    return text


async def chat() -> None:
    """Hold one conversation: a question for each line of standard input."""
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    async with connect(f"{URL}/realtime?model={MODEL}", additional_headers=headers) as socket:
        with otel_realtime.conversation(socket, thread_id="caller-42") as call:
            print("trace:", call.trace_id)
            await send(socket, "session.update", session=SESSION)
            while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
                print("agent:", await ask(socket, line), flush=True)
                call.set_metadata(last_question=line)


def main() -> None:
    """Chat until an empty line, or the end of the input."""
    otel_realtime.configure()  # leave it out if your app sets OpenTelemetry up itself
    otel_realtime.instrument()
    asyncio.run(chat())


if __name__ == "__main__":
    main()
