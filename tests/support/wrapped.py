"""Apps that use LangSmith's wrappers, with whichever module they import them from."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from otel_realtime.demo.scenario import Answer, Call
from tests.support.talking import (
    QUESTION,
    SILENCE_MS,
    calls_of,
    client_of,
    result,
    say,
    scenario,
    session,
    silence,
    text_item,
    tone,
)

TOOL = Call(name="lookup_weather", arguments='{"city": "Paris"}')
SPOKEN = Answer(text="It is sunny.", pcm=tone(400, 523))
#: A spoken question, one tool, a spoken answer.
CALL = scenario(Answer(calls=(TOOL,)), SPOKEN, user_transcripts=("Is it sunny?",))
Wrap = Callable[..., Any]


class NoClient:
    """A LangSmith client that keeps what it is given."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.updated: list[dict[str, Any]] = []

    def create_run(self, *_: Any, **run: Any) -> None:
        """Keep a run that began."""
        self.created.append(run)

    def update_run(self, *_: Any, **run: Any) -> None:
        """Keep one that ended."""
        self.updated.append(run)


@dataclass
class Seen:
    """What an app sees of its call.

    Attributes:
        events: types of the events, in order.
        returned: what its own calls returned, or raised.
        speaking: how often it was asked whether its player is audible.
    """

    events: list[str] = field(default_factory=list)
    returned: list[Any] = field(default_factory=list)
    speaking: int = 0


async def voice_app(
    wrap: Wrap,
    url: str,
    *,
    ends: str = "leaves",
    speaking: bool = False,
    tool: Callable[[], object] = lambda: 18,
    **given: Any,
) -> Seen:
    """A call as LangSmith's documentation shows it: wrapped, both sides recorded, one tool.

    Args:
        wrap: ``wrap_realtime`` of either module.
        url: the server's.
        ends: ``leaves`` after the answer, ``raises`` then, or ``closes`` the connection itself.
        speaking: what it answers when it is asked whether its player is audible.
        tool: its only tool.
        **given: arguments of ``wrap``.
    """
    seen = Seen()

    def is_agent_speaking() -> bool:
        seen.speaking += 1
        return speaking

    async with (
        client_of(url) as client,
        client.realtime.connect(model="gpt-realtime") as raw,
        wrap(raw, is_agent_speaking=is_agent_speaking, **given) as connection,
    ):
        seen.returned.append(await connection.session.update(session=session()))
        seen.returned.append(connection.record_user_audio(QUESTION))
        await say(connection, QUESTION + silence(SILENCE_MS))
        async for event in connection:
            seen.events.append(event.type)
            if event.type == "response.output_audio.delta":
                pcm = base64.b64decode(event.delta)
                seen.returned.append(connection.record_agent_audio(pcm))
            elif event.type == "response.done":
                calls = calls_of(event.response)
                for call in calls:
                    output = tool()
                    await connection.conversation.item.create(item=result(call.call_id, output))
                if not calls:
                    break
                await connection.response.create()
        if ends == "raises":
            raise ValueError("the app's own")
        if ends == "closes":
            await connection.close()
            try:
                await connection.recv()
            except Exception as error:
                seen.returned.append(type(error).__name__)
    return seen


async def one_by_one(wrap: Wrap, url: str, **given: Any) -> Seen:
    """A typed question, answered in text; events by ``recv``, then ``anext``."""
    seen = Seen()
    async with (
        client_of(url) as client,
        client.realtime.connect(model="gpt-realtime") as raw,
        wrap(raw, **given) as connection,
    ):
        seen.events.append((await connection.recv()).type)
        await connection.conversation.item.create(item=text_item("Well?"))
        await connection.response.create(response={"output_modalities": ["text"]})
        while seen.events[-1] != "response.done":
            seen.events.append((await anext(connection)).type)
        connection.mine = 1
        seen.returned += [connection.mine, hasattr(raw, "mine"), connection.session is raw.session]
        seen.returned.append(hasattr(connection, "no_such_thing"))
        await asyncio.sleep(0)
    return seen
