"""One scripted call by the real client, from the socket to the sandbox and the recording."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import otel_realtime
from otel_realtime.demo.server import ScriptedServer
from tests.support import talking
from tests.support.isolation import isolated, sandboxed
from tests.support.traces import Traces, arrived, facts, outline, run_of, samples


@dataclass(frozen=True, repr=False)
class Made:
    """A call that is over and delivered."""

    traces: Traces
    conversation: dict[str, Any]
    recording: Path | None
    sent: list[dict[str, Any]]
    received: list[Any]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The call that all tests of this file look at."""
    folder = tmp_path_factory.mktemp("call")
    with isolated(folder) as patch, sandboxed(folder, patch) as sandbox:
        traces = Traces()
        otel_realtime.instrument(tracer_provider=traces.provider)
        with ScriptedServer(talking.WEATHER_CALL, speed=talking.SPEED) as server:
            with otel_realtime.using(
                thread_id="thread-7", metadata={"tier": "gold", "seat": 4}, tags=["a", "b"]
            ):
                asyncio.run(talking.weather_call(server.url))
            assert otel_realtime.flush(20)
        yield Made(
            traces,
            arrived(sandbox, traces.spans),
            sandbox.recording(run_of(traces.root)),
            server.sent[0],
            server.received[0],
        )


USER_TURN = [
    "  input_audio_buffer.speech_started",
    "  input_audio_buffer.speech_stopped",
    "  input_audio_buffer.committed",
    "  transcribe gpt-4o-mini-transcribe",
    "  conversation.item.added",
    "  conversation.item.done",
    "  response.created",
    "  chat gpt-realtime",
    "  conversation.item.input_audio_transcription.completed",
]
CALL_ITEM = [
    "  response.output_item.added",
    "  conversation.item.added",
    "  response.function_call_arguments.done",
    "  conversation.item.done",
    "  response.output_item.done",
]
SPOKEN = [
    "  response.output_item.added",
    "  conversation.item.added",
    "  response.content_part.added",
    "  response.output_audio.done",
    "  response.output_audio_transcript.done",
    "  response.content_part.done",
    "  conversation.item.done",
    "  response.output_item.done",
    "  response.done",
    "  rate_limits.updated",
]
TREE = [
    "realtime_session",
    "  session.created",
    "  session.updated",
    *USER_TURN,
    *CALL_ITEM,
    *CALL_ITEM,
    "  response.done",
    "    execute_tool lookup_weather",
    "    execute_tool lookup_weather",
    "  rate_limits.updated",
    "  conversation.item.added",
    "  conversation.item.done",
    "  conversation.item.added",
    "  conversation.item.done",
    "  response.created",
    "  chat gpt-realtime",
    *SPOKEN,
    "  input_audio_buffer.speech_started",
    "  error",
    "  conversation.item.truncated",
    *USER_TURN[1:],
    *SPOKEN[:-1],
]


def test_every_span_and_its_parent(call: Made) -> None:
    """The trace is the design's tree, span by span: nothing more, nothing less, in order."""
    assert TREE == outline(call.traces.spans)
