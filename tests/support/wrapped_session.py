"""An app on the Agents SDK that uses LangSmith's wrapper, with whichever module it imports it from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner
from opentelemetry import trace

from tests.support.talking import QUESTION, SILENCE_MS, silence


@function_tool
def lookup_weather(city: str) -> int:
    """Look the weather up."""
    with trace.get_tracer("app").start_as_current_span("in the tool"):
        return 18


@dataclass
class Seen:
    """What an app sees of its session."""

    events: list[str] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)
    returned: list[Any] = field(default_factory=list)


async def agent_app(wrap: Any, url: str, *, raises: bool = False, **given: Any) -> Seen:
    """A spoken question, a tool that the SDK runs, a spoken answer."""
    seen = Seen()
    agent = RealtimeAgent(name="host", tools=[lookup_weather])
    config: Any = {
        "url": f"{url}/realtime?model=gpt-realtime",
        "api_key": "any",
        "initial_model_settings": {
            "turn_detection": {"type": "server_vad", "silence_duration_ms": SILENCE_MS}
        },
    }
    session = await RealtimeRunner(agent).run(model_config=config)

    def on_message(role: str, text: str) -> None:
        seen.lines.append((role, text))

    wrapped = wrap(session, on_message=on_message, **given)
    async with wrapped as connection:
        seen.returned.append(connection is wrapped)
        seen.returned.append(connection.record_user_audio(QUESTION))
        seen.returned.append(await connection.send_audio(QUESTION + silence(SILENCE_MS)))
        ended = 0
        async for event in connection:
            seen.events.append(event.type)
            if event.type == "audio":
                seen.returned.append(connection.record_agent_audio(event.audio.data))
            ended += event.type == "agent_end"
            if ended == 2:
                break
        if raises:
            raise ValueError("the app's own")
    seen.returned.append(connection.model is session.model)
    return seen
