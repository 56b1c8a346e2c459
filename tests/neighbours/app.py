"""The app: one spoken call with a tool; prints what became of it as one JSON object.

``python -m tests.neighbours.app NAME MODE`` with MODE ``ours``, ``theirs``, or one of its orders. Imports nothing of ours or of the neighbour before it is its turn.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from tests.neighbours.table import NEIGHBOURS

ALONE = ("ours", "theirs")
#: Half a second of a sound, and enough silence to end it, 16 bits at 24 kHz.
SPEECH = b"".join(
    int(8_000 * ((t // 40) % 2 * 2 - 1)).to_bytes(2, "little", signed=True) for t in range(12_000)
)
SILENCE = bytes(24_000)
SESSION: dict[str, Any] = {
    "type": "realtime",
    "audio": {
        "input": {
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 200},
            "transcription": {"model": "gpt-4o-mini-transcribe"},
        }
    },
}


class App:
    """The app under test.

    Args:
        url: the Realtime server.
        web: a page that the tool fetches.
        tracer: the app's own.
    """

    def __init__(self, url: str, web: str, tracer: Any) -> None:
        self._url, self._web, self._tracer = url, web, tracer

    def tool(self, city: str = "Paris") -> int:
        """Fetch a page, in a span of its own."""
        import requests

        with self._tracer.start_as_current_span("in the tool"):
            return requests.get(self._web, timeout=5).status_code

    def run(self, client: str) -> None:
        """Make the call."""
        if client == "sync":
            self._sync()
        else:
            calls: dict[str, Callable[[], Any]] = {
                "openai": self._openai,
                "agents": self._agents,
                "aiohttp": self._aiohttp,
            }
            asyncio.run(calls[client]())

    def _frames(self) -> list[dict[str, Any]]:
        audio = base64.b64encode(SPEECH + SILENCE).decode()
        return [
            {"type": "session.update", "session": SESSION},
            {"type": "input_audio_buffer.append", "audio": audio},
        ]

    def _answers(self, event: dict[str, Any]) -> list[dict[str, Any]] | None:
        """What the app sends after an event; ``None``: it hangs up."""
        if event["type"] != "response.done":
            return []
        calls = [one for one in event["response"]["output"] if one["type"] == "function_call"]
        if not calls:
            return None
        item = {
            "type": "function_call_output",
            "call_id": calls[0]["call_id"],
            "output": str(self.tool()),
        }
        return [{"type": "conversation.item.create", "item": item}, {"type": "response.create"}]

    async def _openai(self) -> None:
        from openai import AsyncOpenAI

        client = AsyncOpenAI(api_key="any", websocket_base_url=self._url)
        async with client, client.realtime.connect(model="gpt-realtime") as connection:
            for frame in self._frames():
                await connection.send(frame)  # type: ignore[arg-type]
            async for event in connection:
                answers = self._answers(event.to_dict())
                if answers is None:
                    return
                for frame in answers:
                    await connection.send(frame)  # type: ignore[arg-type]

    def _sync(self) -> None:
        from openai import OpenAI

        client = OpenAI(api_key="any", websocket_base_url=self._url)
        with client, client.realtime.connect(model="gpt-realtime") as connection:
            for frame in self._frames():
                connection.send(frame)  # type: ignore[arg-type]
            for event in connection:
                answers = self._answers(event.to_dict())
                if answers is None:
                    return
                for frame in answers:
                    connection.send(frame)  # type: ignore[arg-type]

    async def _aiohttp(self) -> None:
        import aiohttp

        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{self._url}/realtime?model=gpt-realtime") as socket,
        ):
            async with session.get(self._web) as page:
                await page.read()
            for frame in self._frames():
                await socket.send_str(json.dumps(frame))
            async for message in socket:
                answers = self._answers(json.loads(message.data))
                if answers is None:
                    return
                for frame in answers:
                    await socket.send_str(json.dumps(frame))

    async def _agents(self) -> None:
        from agents import function_tool
        from agents.realtime import RealtimeAgent, RealtimeRunner

        agent: Any = RealtimeAgent(
            name="host", tools=[function_tool(self.tool, name_override="lookup_weather")]
        )
        config: Any = {
            "url": f"{self._url}/realtime?model=gpt-realtime",
            "api_key": "any",
            "initial_model_settings": SESSION["audio"]["input"],
        }
        async with await RealtimeRunner(agent).run(model_config=config) as session:
            await session.send_audio(SPEECH + SILENCE)
            ended = 0
            async for event in session:
                ended += event.type == "agent_end"
                if ended == 2:
                    return


def main(name: str, mode: str) -> None:
    """Set up in the order of the mode, call, shut down, and say what there was."""
    (neighbour,) = [one for one in NEIGHBOURS if one.name == name]
    complaints: list[str] = []

    class Complaints(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name.startswith("otel_realtime"):
                complaints.append(f"{record.levelname}: {record.getMessage()}")

    logging.getLogger().addHandler(Complaints(logging.WARNING))
    others: list[dict[str, Any]] = []

    hooks: dict[str, list[Any]] = {"others": others, "tools": [], "finish": []}

    def theirs() -> None:
        exec(compile(neighbour.set_up, name, "exec"), {"provider": provider, **hooks})

    def ours() -> None:
        import otel_realtime

        otel_realtime.instrument(tracer_provider=provider)

    if "ours-first" not in neighbour.orders:  # must come before anything is imported
        exec(neighbour.set_up, {})
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)

    order = {"ours": (ours,), "theirs": (theirs,), "theirs-first": (theirs, ours)}
    for step in order.get(mode, (ours, theirs)):
        step()
    web = os.environ["NEIGHBOUR_WEB"]
    app = App(os.environ["NEIGHBOUR_URL"], web, provider.get_tracer("app"))
    for decorate in hooks["tools"]:
        app.tool = decorate(app.tool)  # type: ignore[method-assign]
    app.run(neighbour.client)
    for call in hooks["finish"]:
        call()

    faults: dict[str, int] = {}
    delivered = True
    if mode != "theirs":
        import otel_realtime
        from otel_realtime import diagnostics

        delivered = otel_realtime.shutdown(20)
        faults = diagnostics.faults()
    spans = memory.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans if span.context}
    told = [
        {
            "scope": span.instrumentation_scope.name if span.instrumentation_scope else "",
            "name": span.name,
            "parent": names.get(span.parent.span_id) if span.parent else None,
            "trace": span.context.trace_id if span.context else 0,
            "tags": {key: str(value) for key, value in (span.attributes or {}).items()},
        }
        for span in spans
    ]
    print(
        json.dumps(
            {
                "spans": told + others,
                "complaints": complaints,
                "faults": faults,
                "delivered": delivered,
                "ours": "otel_realtime" in sys.modules,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
