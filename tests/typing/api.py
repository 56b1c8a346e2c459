"""The public API from the user's side: never run, only checked, by mypy and pyright.

A line marked ``error`` must be one: both checkers report a marker that is not needed.
"""

from __future__ import annotations

import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, TracerProvider
from typing_extensions import assert_type

import otel_realtime
from otel_realtime import Conversation, OpenAIRealtimeInstrumentor, Settings
from otel_realtime.langsmith_compat import wrap_realtime


def set_up(tracers: TracerProvider, meters: MeterProvider) -> None:
    """One line, or every argument."""
    assert_type(otel_realtime.configure(), TracerProvider)
    otel_realtime.instrument()
    otel_realtime.instrument(
        tracer_provider=tracers, meter_provider=meters, settings=Settings(langsmith="off")
    )
    OpenAIRealtimeInstrumentor().instrument(tracer_provider=tracers)
    otel_realtime.uninstrument()
    assert_type(otel_realtime.flush(5), bool)
    assert_type(otel_realtime.shutdown(timeout_s=5.0), bool)
    assert_type(otel_realtime.__version__, str)


async def wait() -> None:
    """On an event loop."""
    assert_type(await otel_realtime.aflush(), bool)


def redact(payload: dict[str, Any]) -> dict[str, Any]:
    """A hook of the app's."""
    return payload


def on_recording(path: Path, info: Mapping[str, Any]) -> None:
    """Another one."""


def every_setting() -> Settings:
    """All fields, by keyword."""
    return Settings(
        langsmith="direct",
        capture_content=True,
        record_audio=False,
        redact=redact,
        parent="ambient",
        activate_spans=True,
        skip_events=("ping", "rate_limits.*"),
        span_limit=100,
        payload_limit=1_000,
        metrics=True,
        state_dir=Path("/var/lib/calls"),
        recover_on_start=False,
        recordings_dir="s3://bucket/calls",
        redact_audio=True,
        on_recording=on_recording,
        audio_format="flac",
        max_attachment_mb=10,
        state_max_mb=100.0,
        state_max_age_days=1,
        exit_timeout_s=2.5,
        end_on_sigterm=True,
    )


def wrong_settings() -> None:
    """A typo is an error before the program runs."""
    Settings(langsmith="of")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Settings(parent="typo")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Settings(audio_format="mp3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Settings(exit_timeout_s="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Settings("off")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Settings().langsmith = "off"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def a_call(connection: object, tracers: TracerProvider) -> None:
    """Everything a conversation offers."""
    with (
        otel_realtime.using(
            thread_id="t",
            metadata={"a": 1},
            tags=["b"],
            record_audio=True,
            capture_content=False,
            join=False,
        ),
        otel_realtime.conversation(
            connection,
            thread_id="t",
            metadata={"a": [1, 2]},
            tags=("b",),
            settings=every_setting(),
            tracer_provider=tracers,
        ) as call,
    ):
        assert_type(call, Conversation)
        assert_type(call.thread_id, str)
        assert_type(call.trace_id, str)
        assert_type(call.langsmith_run_id, str)
        assert_type(call.langsmith_url, str | None)
        call.received({"type": "session.created"}, at_ns=1)
        call.received(b"{}")
        call.sent("{}")
        call.record_agent_audio(b"\0\0", item_id="item", rate=24_000, at_ns=1)
        call.record_agent_audio(array.array("h", [0]))
        call.redact_audio(0, 1_500.5)
        call.redact_audio(0, 1_500, side="user", how="beep")
        call.redact_audio(0, 1, side="caller")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        call.record_user_audio(np.zeros(10, np.int16), rate=16_000)
        call.played("item", 0, 12.5)
        with call.tool("call_1", name="look_up", arguments="{}") as span:
            assert_type(span, Span)
        with call.pause_recording():
            pass
        call.set_metadata(seat=4, tier="gold")
        call.add_tags("a", "b")
        call.attach(object())
        call.close(ValueError())
        call.thread_id = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert_type(otel_realtime.current_conversation(), Conversation | None)


async def an_async_call() -> None:
    """The same block, asynchronous."""
    async with otel_realtime.conversation() as call:
        assert_type(call, Conversation)


async def a_wrapped_connection(connection: AsyncRealtimeConnection) -> None:
    """LangSmith's wrapper, from here."""
    async with wrap_realtime(connection, thread_id="t", tags=["a"], metadata={"b": 1}) as wrapped:
        wrapped.record_user_audio(b"\x00\x00")
        await wrapped.recv()
    wrap_realtime(connection, thread_id=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
