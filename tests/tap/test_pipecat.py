"""Functions that a Pipecat pipeline runs, against the scripted server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from otel_realtime import instrument, uninstrument
from otel_realtime.demo.scenario import Answer, Call
from otel_realtime.demo.server import ScriptedServer
from tests.support.talking import SPEED, scenario, tone
from tests.support.traces import Traces, facts, parent_name

pytest.importorskip("pipecat.services.openai.realtime.llm")
from pipecat.frames.frames import LLMFullResponseEndFrame, LLMRunFrame, TTSAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.llm_service import LLMService
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService

TOOL_S = 0.4
LAST = Answer(text="Done.", pcm=tone(100))


class Ender(FrameProcessor):  # type: ignore[misc]
    """Ends the pipeline after the spoken answer."""

    def __init__(self) -> None:
        super().__init__()
        self.task: Any = None
        self.spoken = False

    async def process_frame(self, frame: Any, direction: Any) -> None:
        await super().process_frame(frame, direction)
        self.spoken = self.spoken or isinstance(frame, TTSAudioRawFrame)
        if self.spoken and isinstance(frame, LLMFullResponseEndFrame):
            await self.task.cancel()
        await self.push_frame(frame, direction)


def play(traces: Traces, function: Callable[..., Any], *calls: Call) -> None:
    """Let the model call a function, and end after the spoken answer."""
    instrument(tracer_provider=traces.provider)
    script = scenario(Answer(calls=calls), *[LAST] * 4, answer_delay_ms=0, rate_limits=False)
    with ScriptedServer(script, speed=SPEED) as server:
        asyncio.run(_converse(server.url, function))


async def _converse(url: str, function: Callable[..., Any]) -> None:
    llm = OpenAIRealtimeLLMService(api_key="any", base_url=f"{url}/realtime")
    llm.register_function("look_up", function)
    both = LLMContextAggregatorPair(LLMContext([{"role": "user", "content": "Well?"}]))
    ender = Ender()
    ender.task = PipelineTask(Pipeline([both.user(), llm, ender, both.assistant()]))
    await ender.task.queue_frames([LLMRunFrame()])
    await asyncio.wait_for(PipelineRunner(handle_sigint=False).run(ender.task), 30)


def test_two_functions_at_once_are_exact(traces: Traces) -> None:
    """Each from its own entry to its own exit; the app's spans inside."""

    async def look_up(params: Any) -> None:
        what = params.arguments["what"]
        with traces.tracer.start_as_current_span(f"request {what}"):
            await asyncio.sleep(TOOL_S)
        await params.result_callback(what + "!")

    calls = [Call(name="look_up", arguments=f'{{"what": "{what}"}}') for what in ("sky", "sea")]
    play(traces, look_up, *calls)
    tools = {facts(span)["gen_ai.prompt"]: span for span in traces.named("execute_tool look_up")}
    assert 2 == len(tools) == facts(traces.root)["otel_realtime.tool_calls"]
    for what in ("sky", "sea"):
        span, request = tools[f'{{"what": "{what}"}}'], traces.one(f"request {what}")
        assert "exact" == facts(span)["otel_realtime.tool.timing"]
        assert what in facts(span)["gen_ai.tool.call.result"]
        seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
        assert TOOL_S == pytest.approx(seconds, abs=0.2)
        assert request.parent is not None
        assert span.context is not None
        assert span.context.span_id == request.parent.span_id


def test_a_function_that_raises(traces: Traces) -> None:
    """The pipeline tells the model of it and goes on; the span says what it was."""

    async def look_up(params: Any) -> None:
        with traces.tracer.start_as_current_span("request"):
            raise LookupError("no such sky")

    play(traces, look_up, Call(name="look_up"))
    span = traces.one("execute_tool look_up")
    assert ("exact", "LookupError") == (
        facts(span)["otel_realtime.tool.timing"],
        facts(span)["error.type"],
    )
    assert "execute_tool look_up" == parent_name(traces.one("request"), traces.spans)


def test_it_is_given_back() -> None:
    """Whatever was replaced."""
    before = LLMService._run_function_call, LLMService.push_error
    instrument()
    assert before[0] is not LLMService._run_function_call
    uninstrument()
    assert before == (LLMService._run_function_call, LLMService.push_error)
    assert "push_error" not in vars(LLMService)
