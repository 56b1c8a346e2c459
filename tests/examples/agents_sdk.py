"""An agent of the OpenAI Agents SDK. The SDK owns the connection, so ``using(...)`` names the call.

::

    pip install otel-realtime openai-agents
    export OPENAI_API_KEY=sk-... LANGSMITH_TRACING=true LANGSMITH_API_KEY=lsv2_...
    python agents_sdk.py "What is the weather in Paris?"
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import Any

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession

import otel_realtime

URL = os.environ.get("REALTIME_URL", "wss://api.openai.com/v1")
MODEL = "gpt-realtime"


@function_tool
def lookup_weather(city: str) -> str:
    """Look up the weather of a city."""
    return f"18 degrees and sunny in {city}"


AGENT: RealtimeAgent[Any] = RealtimeAgent(
    name="Weather desk",
    instructions="Look the weather up, then answer briefly.",
    tools=[lookup_weather],
)


async def answer(session: RealtimeSession, question: str) -> int:
    """Ask, print what is said, and return the length of the spoken answer in bytes."""
    await session.send_message(question)
    size, spoken = 0, False
    async for event in session:
        if event.type == "audio":
            size += len(event.audio.data)  # a real app plays it
        elif event.type == "audio_end":
            spoken = True
        elif event.type == "tool_end":
            print("tool: ", event.tool.name, "->", event.output)
        elif event.type == "agent_end" and spoken:  # one without sound only called the tool
            break
        elif event.type == "error":
            print("error:", event.error, file=sys.stderr)
    return size


async def call(question: str) -> None:
    """Hold one conversation."""
    runner = RealtimeRunner(AGENT, config={"model_settings": {"model_name": MODEL}})
    with otel_realtime.using(thread_id="caller-42", metadata={"desk": AGENT.name}):
        async with await runner.run(
            model_config={"url": f"{URL}/realtime?model={MODEL}"}
        ) as session:
            print("bytes:", await answer(session, question))


def main() -> None:
    """Ask a typed question."""
    parser = argparse.ArgumentParser()
    parser.add_argument("question")
    options = parser.parse_args()
    otel_realtime.configure()  # leave it out if your app sets OpenTelemetry up itself
    otel_realtime.instrument()
    asyncio.run(call(options.question))


if __name__ == "__main__":
    main()
