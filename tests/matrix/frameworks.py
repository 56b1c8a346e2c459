"""Frameworks that hold the connection themselves, and run the app's tool.

Each is the shortest app its documentation leads to: one question, one tool, one spoken answer. The
connection is opened inside ``using(...)``, as an app does that has a thread id of its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import otel_realtime
from tests.matrix.flow import QUERY, Client, Flow, Talk

WAIT_S = 40.0


def _run(converse: Any) -> None:
    async def run() -> None:
        with otel_realtime.using(thread_id="a thread"):
            await asyncio.wait_for(converse(), WAIT_S)

    asyncio.run(run())


def openai_agents(talk: Talk) -> None:
    """``RealtimeRunner`` of the Agents SDK."""
    from agents import function_tool
    from agents.realtime import RealtimeAgent, RealtimeRunner

    @function_tool
    def look_up(what: str) -> str:
        """Look something up."""
        return talk.look_up(what)

    async def converse() -> None:
        runner = RealtimeRunner(RealtimeAgent(name="host", tools=[look_up]))
        config: Any = {"url": talk.url + QUERY, "api_key": "any"}
        async with await runner.run(model_config=config) as session:
            await session.send_message("What colour is the sky?")
            heard = False
            async for event in session:
                heard = heard or event.type == "audio"
                if heard and event.type == "agent_end":
                    return

    _run(converse)


def pydantic_ai(talk: Talk) -> None:
    """``agent.realtime(model).session()``."""
    from pydantic_ai import Agent
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai.realtime import RealtimeTurnCompleteEvent
    from pydantic_ai.realtime.openai import OpenAIRealtimeModel

    def look_up(what: str) -> str:
        """Look something up."""
        return talk.look_up(what)

    async def converse() -> None:
        agent: Any = Agent(tools=[look_up])
        provider = OpenAIProvider(base_url=talk.http, api_key="any")
        model = OpenAIRealtimeModel("gpt-realtime", provider=provider)
        async with agent.realtime(model).session() as session:
            await session.send("What colour is the sky?")
            async for event in session:
                if isinstance(event, RealtimeTurnCompleteEvent):
                    return

    _run(converse)


def livekit(talk: Talk) -> None:
    """``AgentSession`` with the OpenAI plugin, without a room."""
    from livekit.agents import Agent, AgentSession, function_tool
    from livekit.plugins import openai

    @function_tool
    async def look_up(what: str) -> str:
        """Look something up."""
        return await asyncio.to_thread(talk.look_up, what)

    async def converse() -> None:
        model = openai.realtime.RealtimeModel(
            model="gpt-realtime", api_key="any", base_url=talk.http, modalities=["text"]
        )
        session: Any = AgentSession(llm=model)
        await session.start(Agent(instructions="", tools=[look_up]))
        await session.run(user_input="What colour is the sky?")
        await session.aclose()

    _run(converse)


def pipecat(talk: Talk) -> None:
    """``OpenAIRealtimeLLMService`` in a pipeline."""
    from pipecat.frames.frames import LLMFullResponseEndFrame, LLMRunFrame, TTSAudioRawFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.runner import PipelineRunner
    from pipecat.pipeline.task import PipelineTask
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
    from pipecat.processors.frame_processor import FrameProcessor
    from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService

    class Ender(FrameProcessor):  # type: ignore[misc]
        """Ends the pipeline after the spoken answer."""

        task: Any = None
        spoken = False

        async def process_frame(self, frame: Any, direction: Any) -> None:
            await super().process_frame(frame, direction)
            self.spoken = self.spoken or isinstance(frame, TTSAudioRawFrame)
            if self.spoken and isinstance(frame, LLMFullResponseEndFrame):
                await self.task.cancel()
            await self.push_frame(frame, direction)

    async def look_up(params: Any) -> None:
        await params.result_callback(await asyncio.to_thread(talk.look_up, **params.arguments))

    async def converse() -> None:
        llm = OpenAIRealtimeLLMService(api_key="any", base_url=f"{talk.url}/realtime")
        llm.register_function("look_up", look_up)
        context = LLMContext([{"role": "user", "content": "What colour is the sky?"}])
        both, ender = LLMContextAggregatorPair(context), Ender()
        ender.task = PipelineTask(Pipeline([both.user(), llm, ender, both.assistant()]))
        await ender.task.queue_frames([LLMRunFrame()])
        await PipelineRunner(handle_sigint=False).run(ender.task)

    _run(converse)


def rtvoice(talk: Talk) -> None:
    """``RealtimeAgent`` with devices that neither hear nor play."""
    from rtvoice.agent.realtime_agent import RealtimeAgent
    from rtvoice.audio import AudioInput, AudioOutput
    from rtvoice.events.views import AgentSessionConnectedEvent
    from rtvoice.realtime import RealtimeProvider
    from rtvoice.realtime.schemas import ResponseDoneEvent
    from rtvoice.tools import Tools

    class Microphone(AudioInput):  # type: ignore[misc]
        is_active = True

        async def start(self) -> None: ...

        async def stop(self) -> None: ...

        async def stream_chunks(self) -> AsyncIterator[bytes]:
            yield bytes(4800)

    class Speaker(AudioOutput):  # type: ignore[misc]
        is_playing = False

        async def start(self) -> None: ...

        async def stop(self) -> None: ...

        async def play_chunk(self, chunk: bytes) -> None: ...

        async def clear_buffer(self) -> None: ...

    class Local(RealtimeProvider):  # type: ignore[misc]
        def build_url(self, model: str) -> str:
            return f"{talk.url}/realtime?model={model}"

        def build_headers(self) -> dict[str, str]:
            return {"Authorization": "Bearer any"}

    tools = Tools()

    @tools.action("Look something up.")  # type: ignore[untyped-decorator]
    def look_up(what: str) -> str:
        return talk.look_up(what)

    async def converse() -> None:
        agent = RealtimeAgent(
            system_prompt="",
            tools=tools,
            provider=Local(),
            audio_input=Microphone(),
            audio_output=Speaker(),
        )
        connected, responses = asyncio.Event(), asyncio.Semaphore(0)
        agent._event_bus.on(AgentSessionConnectedEvent, lambda event: connected.set())
        agent._event_bus.on(ResponseDoneEvent, lambda event: responses.release())
        running = asyncio.create_task(agent.start())
        await connected.wait()
        await agent.send_message("What colour is the sky?")
        for _ in range(2):
            await responses.acquire()
        await agent.stop()
        await running

    _run(converse)


def strands(talk: Talk) -> None:
    """``BidiAgent`` with ``OpenAIRealtimeModel``."""
    from strands import tool
    from strands.bidi.agent.agent import BidiAgent
    from strands.bidi.models.openai import realtime
    from strands.bidi.types.events import BidiAudioDeltaEvent, BidiResponseStopEvent

    @tool  # type: ignore[untyped-decorator]
    def look_up(what: str) -> str:
        """Look something up."""
        return talk.look_up(what)

    async def converse() -> None:
        realtime.OPENAI_REALTIME_URL = f"{talk.url}/realtime"
        model = realtime.OpenAIRealtimeModel(
            model_id="gpt-realtime", transcription_model_id=None, api_key="any"
        )
        async with BidiAgent(model=model, tools=[look_up]) as agent:
            await agent.send("What colour is the sky?")
            spoken = False
            async for event in agent.receive():
                spoken = spoken or isinstance(event, BidiAudioDeltaEvent)
                if spoken and isinstance(event, BidiResponseStopEvent):
                    return

    _run(converse)


def ag2(talk: Talk) -> None:
    """``LiveAgent`` with ``RealTimeConfig``, asked by voice: it has no way to send text."""
    from ag2.events import ModelResponse, RecordedAudioEvent
    from ag2.live import LiveAgent
    from ag2.live.openai import RealTimeConfig
    from ag2.tools import tool
    from openai import AsyncOpenAI

    from tests.matrix.voice import QUESTION

    @tool  # type: ignore[untyped-decorator]
    def look_up(what: str) -> str:
        """Look something up."""
        return talk.look_up(what)

    async def converse() -> None:
        responses = asyncio.Semaphore(0)
        async with AsyncOpenAI(api_key="any", websocket_base_url=talk.url) as client:
            vad: Any = {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}
            session: Any = {"type": "realtime", "audio": {"input": vad}}
            config = RealTimeConfig("gpt-realtime", client=client, session=session)
            agent = LiveAgent("agent", config=config, tools=[look_up])
            async with agent.run() as context:

                async def on_response(event: ModelResponse) -> None:
                    responses.release()

                with context.stream.where(ModelResponse).sub_scope(on_response):
                    await context.send(RecordedAudioEvent(QUESTION))
                    for _ in range(2):
                        await responses.acquire()

    _run(converse)


def ag2_realtime(talk: Talk) -> None:
    """``RealtimeAgent`` of AG2 before 1.0, on the SDK's beta client."""
    from autogen.agentchat.realtime.experimental import RealtimeAgent

    async def converse() -> None:
        entry = {"model": "gpt-realtime", "api_key": "any", "websocket_base_url": talk.url}
        agent: Any = RealtimeAgent(
            name="agent", llm_config={"config_list": [entry], "temperature": 0.8}
        )

        @agent.register_realtime_function(name="look_up", description="Look something up.")  # type: ignore[untyped-decorator]
        def look_up(what: str) -> str:
            return talk.look_up(what)

        async def ask() -> None:
            await agent.realtime_client.send_text(role="user", text="What colour is the sky?")

        done = 0
        read_events = agent.realtime_client.read_events

        async def until_answered() -> AsyncIterator[Any]:
            nonlocal done
            async for event in read_events():
                yield event
                done += getattr(event, "raw_message", {}).get("type") == "response.done"
                if done == 2:
                    agent._tg.cancel_scope.cancel()

        agent.realtime_client.read_events = until_answered
        agent.callbacks.on_observers_ready = ask
        await agent.run()

    _run(converse)


def semantic_kernel(talk: Talk) -> None:
    """``OpenAIRealtimeWebsocket``, without a kernel: the app runs the tool where it receives."""
    import json

    from openai import AsyncOpenAI
    from semantic_kernel.connectors.ai.open_ai import ListenEvents, OpenAIRealtimeWebsocket
    from semantic_kernel.contents import ChatHistory

    async def converse() -> None:
        async with AsyncOpenAI(api_key="any", websocket_base_url=talk.url) as client:
            service: Any = OpenAIRealtimeWebsocket(ai_model_id="gpt-realtime", client=client)
            history, answers = ChatHistory(), 0
            history.add_user_message("What colour is the sky?")
            async with service(chat_history=history, create_response=True):
                async for event in service.receive():
                    if event.service_type == ListenEvents.RESPONSE_FUNCTION_CALL_ARGUMENTS_DONE:
                        asked = event.service_event
                        said = talk.look_up(**json.loads(asked.arguments))
                        item = {"type": "function_call_output", "call_id": asked.call_id}
                        await service.connection.conversation.item.create(
                            item={**item, "output": json.dumps(said)}
                        )
                    elif event.service_type == ListenEvents.RESPONSE_DONE:
                        answers += 1
                        if answers == 2:
                            return
                        await service.connection.response.create()

    _run(converse)


def voicelive(talk: Talk) -> None:
    """``azure.ai.voicelive.aio.connect``."""
    import json

    from azure.ai.voicelive.aio import connect
    from azure.core.credentials import AzureKeyCredential

    async def converse() -> None:
        flow = Flow(talk)
        endpoint = talk.http.removesuffix("/v1")
        async with connect(
            endpoint=endpoint, credential=AzureKeyCredential("any"), model="gpt-realtime"
        ) as connection:
            while not flow.over:
                for reply in flow.on(json.loads(await connection.recv_bytes())):
                    await connection.send(reply)

    _run(converse)


FRAMEWORKS: dict[str, Client] = {
    client.__name__: client
    for client in (
        openai_agents,
        pydantic_ai,
        livekit,
        pipecat,
        rtvoice,
        strands,
        ag2,
        ag2_realtime,
        semantic_kernel,
        voicelive,
    )
}
os.environ.setdefault("OPENAI_API_KEY", "any")
