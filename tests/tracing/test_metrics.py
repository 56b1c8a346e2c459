"""Metrics of conversations, as a reader of the app's meter provider sees them."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanContext, TraceFlags

from otel_realtime import attributes as names
from otel_realtime.core.protocol.outcome import Provider
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.recording.track import AudioSummary
from otel_realtime.tracing.inference import describe_inference
from otel_realtime.tracing.metrics import Metrics, metrics_for
from tests.support.calls import Call, tone
from tests.support.streams import CALL, Row, Sounds, at, created, done, feed, received, sound

#: Of the whole process: what other tests left counts too.
PROCESS_WIDE = {"otel_realtime.recording.pending", "otel_realtime.telemetry.lost"}
BASE = {"gen_ai.provider.name": "openai"}
CHAT = {**BASE, "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-realtime"}
Point = tuple[dict[str, Any], float]
ROOT = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class Meter:
    """A meter provider of the app's, with a reader that keeps what it gets."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.metrics: Metrics = metrics_for(self.provider, "openai", int, root=ROOT, on=True)

    def read(self) -> dict[str, tuple[str, list[Point]]]:
        """Name -> unit and points (attributes, sum or value); none without any."""
        data = self._reader.get_metrics_data()
        found: dict[str, tuple[str, list[Point]]] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                assert "otel_realtime" == scope.scope.name
                for metric in scope.metrics:
                    if metric.name in PROCESS_WIDE:
                        continue
                    points = [_point(point) for point in metric.data.data_points]
                    found[metric.name] = metric.unit or "", points
        return found


def _point(point: Any) -> Point:
    measured = point.value if hasattr(point, "value") else point.sum
    return dict(point.attributes or {}), round(float(measured), 6)


@pytest.fixture
def meter() -> Meter:
    """The app's metrics."""
    return Meter()


def settle(
    meter: Meter, rows: tuple[Row, ...], response_id: str, audio: Sounds | None = None
) -> None:
    """Report one response of these rows."""
    state, _ = feed(rows)
    response = state.responses[response_id]
    policy, provider = ContentPolicy(), Provider()
    found = describe_inference(response, state, audio, policy, provider, 4096)
    meter.metrics.inference(response, found)


def test_a_spoken_answer(meter: Meter) -> None:
    """Duration, first chunk, tokens by type and modality, cached tokens, an interruption."""
    audio = Sounds(
        sound("item_5", 1500, 500, generated_ms=900, first_chunk_t=450_000_000, interrupted=True)
    )
    settle(meter, CALL, "resp_2", audio)
    why = {"otel_realtime.interruption.cause": "client", "otel_realtime.interruption.false": False}
    tokens = [
        ({**CHAT, "gen_ai.token.type": kind, "gen_ai.token.modality": modality}, count)
        for kind, modality, count in (
            ("input", "audio", 4),
            ("input", "text", 3),
            ("output", "audio", 4),
            ("output", "text", 1),
        )
    ]
    assert {
        "gen_ai.client.operation.duration": ("s", [(CHAT, 0.03)]),
        "gen_ai.client.operation.time_to_first_chunk": ("s", [(CHAT, 0.28)]),
        "gen_ai.client.token.usage": ("{token}", tokens),
        "otel_realtime.token.cached": ("{token}", [(CHAT, 2.0)]),
        "otel_realtime.interruptions": ("{response}", [({**CHAT, **why}, 1.0)]),
    } == meter.read()


def test_how_long_the_caller_waited(meter: Meter) -> None:
    """In seconds, like every duration."""
    state, _ = feed(CALL)
    response = state.responses["resp_2"]
    response.inputs.insert(0, "item_1")
    audio = Sounds(sound("item_5", 1500, 500), loud_ms=600)
    found = describe_inference(response, state, audio, ContentPolicy(), Provider(), 4096)
    meter.metrics.inference(response, found)
    unit, points = meter.read()["otel_realtime.voice_to_voice"]
    ((labels, seconds),) = points
    assert ("s", CHAT) == (unit, labels)
    assert found.sound.voice_to_voice_ms == round(seconds * 1000)
    unit, points = meter.read()["otel_realtime.latency"]
    assert "s" == unit
    part, owner = "otel_realtime.latency.part", "otel_realtime.latency.owner"
    assert [(each.name, each.owner, each.ms) for each in found.sound.parts] == [
        (labels.pop(part), labels.pop(owner), round(value * 1000)) for labels, value in points
    ]
    assert [CHAT] * len(points) == [labels for labels, _ in points]


def test_a_failed_response_says_why(meter: Meter) -> None:
    """By ``error.type``, a code of the server's."""
    details = {"error": {"code": "server_error", "message": "no"}}
    rows = created("r", model="m"), done("r", status="failed", status_details=details, usage=None)
    settle(meter, rows, "r")
    labels = {**CHAT, "gen_ai.request.model": "m", "error.type": "server_error"}
    expected = {"gen_ai.client.operation.duration": ("s", [(labels, 0.01)])}
    assert expected == meter.read()


def test_a_response_that_never_ended_has_no_duration(meter: Meter) -> None:
    """Nobody knows it."""
    settle(meter, (created("r"),), "r")
    assert {} == meter.read()


def test_a_transcription(meter: Meter) -> None:
    """Tokens are counted as the transcription model's; seconds are no tokens."""
    attributes: dict[str, Any] = {
        "gen_ai.request.model": "whisper-1",
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.audio.input_tokens": 8,
        "gen_ai.usage.output_tokens": 6,
    }
    meter.metrics.transcription(attributes)
    meter.metrics.transcription({"gen_ai.request.model": "whisper-1"})
    _, points = meter.read()["gen_ai.client.token.usage"]
    found = {
        (labels["gen_ai.token.type"], labels["gen_ai.token.modality"]): count
        for labels, count in points
    }
    assert {("input", "audio"): 8, ("input", "text"): 1, ("output", "text"): 6} == found
    assert {"whisper-1"} == {labels["gen_ai.request.model"] for labels, _ in points}


def test_conversations_come_and_go(meter: Meter) -> None:
    """The active ones, and how long each lasted."""
    for _ in range(3):
        meter.metrics.opened()
    meter.metrics.closed(61.5, "ok")
    meter.metrics.closed(2.0, "error")
    assert {
        "otel_realtime.conversations.active": ("{conversation}", [(BASE, 1.0)]),
        "otel_realtime.conversation.duration": (
            "s",
            [({**BASE, "outcome": "ok"}, 61.5), ({**BASE, "outcome": "error"}, 2.0)],
        ),
    } == meter.read()


def test_tools_errors_and_uploads(meter: Meter) -> None:
    """With few attributes each."""
    meter.metrics.tool(0.5, "weather")
    meter.metrics.error("rate_limit_exceeded")
    meter.metrics.upload("attached")
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather"}
    assert {
        "gen_ai.execute_tool.duration": ("s", [(tool, 0.5)]),
        "otel_realtime.errors": ("{error}", [({**BASE, "error.type": "rate_limit_exceeded"}, 1.0)]),
        "otel_realtime.recording.uploads": ("{recording}", [({"outcome": "attached"}, 1.0)]),
    } == meter.read()


def test_nothing_names_a_conversation(meter: Meter) -> None:
    """A thousand conversations make no more series than one."""
    for index in range(50):
        rows = created(f"r{index}", model="gpt-realtime"), done(f"r{index}")
        meter.metrics.opened()
        settle(meter, rows, f"r{index}")
        meter.metrics.tool(index, "weather")
        meter.metrics.closed(index, "ok")
    assert {1, 4} == {len(points) for _, points in meter.read().values()}


def test_metrics_can_be_off() -> None:
    """Then nothing is made and nothing reported."""
    meter = Meter()
    silent = metrics_for(meter.provider, "openai", int, root=ROOT, on=False)
    state, _ = feed(CALL)
    response = state.responses["resp_2"]
    found = describe_inference(response, state, None, ContentPolicy(), Provider(), 4096)
    silent.opened()
    silent.inference(response, found)
    silent.transcription(found.attributes)
    silent.tool(1.0, "weather")
    silent.error("c")
    silent.upload("delivered")
    silent.closed(1.0, "ok")
    assert {} == meter.read()


def test_instruments_are_made_once_per_provider() -> None:
    """A second conversation adds to the first one's."""
    meter = Meter()
    metrics_for(meter.provider, "openai", int, root=ROOT, on=True).opened()
    metrics_for(meter.provider, "x_ai", int, root=ROOT, on=True).opened()
    _, points = meter.read()["otel_realtime.conversations.active"]
    assert ["openai", "x_ai"] == [labels["gen_ai.provider.name"] for labels, _ in points]


def test_every_measurement_leads_to_the_conversation() -> None:
    """Whatever span the app is in: an exemplar has the ids of the conversation's root, and no labels."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    metrics = metrics_for(provider, "openai", int, root=ROOT, on=True)
    state, _ = feed(CALL)
    response = state.responses["resp_2"]
    response.inputs.insert(0, "item_1")
    cut = sound("item_5", 1500, 500, generated_ms=900, first_chunk_t=450_000_000, interrupted=True)
    found = describe_inference(
        response, state, Sounds(cut, loud_ms=600), ContentPolicy(), Provider(), 4096
    )
    talked = AudioSummary(
        user_talk_s=4,
        agent_talk_s=2,
        overlap_s=1,
        dead_air_s=0.5,
        longest_silence_s=0.25,
        agent_over_user_s=0.1,
        duration_s=8,
        has_audio=True,
        measured=True,
        player_buffer_ms=None,
        holes=0,
        dropped_ms=0,
        bad_frames=0,
        error=None,
    )
    with TracerProvider(shutdown_on_exit=False).get_tracer("app").start_as_current_span("request"):
        metrics.opened()
        metrics.inference(response, found)
        metrics.transcription(found.attributes)
        metrics.tool(1.0, "weather")
        metrics.error("invalid_value")
        metrics.talk(talked)
        metrics.upload("attached")
        metrics.closed(1.0, "ok")
    data = reader.get_metrics_data()
    assert data is not None
    measured = {
        metric.name: [
            (exemplar.trace_id, exemplar.span_id, dict(exemplar.filtered_attributes or {}))
            for point in metric.data.data_points
            for exemplar in point.exemplars
        ]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name not in PROCESS_WIDE
    }
    every = {value for name, value in vars(names).items() if name.startswith("METRIC_")}
    assert every - PROCESS_WIDE == measured.keys()
    for name, exemplars in measured.items():
        assert exemplars, name
        assert {(0xABC, 0xDEF)} == {(trace, span) for trace, span, _ in exemplars}, name
        assert all(labels == {} for _, _, labels in exemplars), name


def test_a_meter_provider_is_not_kept_alive() -> None:
    """When the app has shut it down and let go of it, so have we."""
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    known = weakref.ref(provider)
    metrics = metrics_for(provider, "openai", int, root=ROOT, on=True)
    metrics.opened()
    metrics.closed(1.0, "ok")
    provider.shutdown()
    del metrics, provider
    gc.collect()
    assert known() is None


def test_time_that_ran_backwards_is_no_negative_duration(meter: Meter) -> None:
    """Histograms take none."""
    state, _ = feed([created("r"), done("r")])
    response = state.responses["r"]
    response.created = at(500)
    found = describe_inference(response, state, None, ContentPolicy(), Provider(), 4096)
    meter.metrics.inference(response, found)
    _, ((_, seconds),) = meter.read()["gen_ai.client.operation.duration"]
    assert 0 == seconds


def test_who_talked(meter: Meter, tmp_path: Path) -> None:
    """Once for a conversation with audio, when it is measured."""
    call = Call(tmp_path)
    call.speak(1_000, tone(1_000))
    meter.metrics.talk(call.track.summary())
    assert {} == meter.read()
    call.close(4_000)
    call.track.measure()
    meter.metrics.talk(call.track.summary())
    assert {
        "otel_realtime.dead_air": ("s", [(BASE, 3.0)]),
        "otel_realtime.longest_silence": ("s", [(BASE, 2.0)]),
        "otel_realtime.agent_over_user": ("s", [(BASE, 0.0)]),
    } == meter.read()


def test_tools_of_the_server_are_measured_like_others(meter: Meter) -> None:
    """By name, and with the type of their failure."""
    call = {"id": "m", "type": "mcp_call", "name": "search", "arguments": "{}"}
    rows = (
        created("r", model="m"),
        received("response.output_item.added", response_id="r", item=call),
        received("response.mcp_call.in_progress", item_id="m"),
        received("response.mcp_call.failed", item_id="m"),
        done("r", {**call, "error": {"message": "no"}}, usage=None),
    )
    settle(meter, rows, "r")
    unit, points = meter.read()["gen_ai.execute_tool.duration"]
    ((labels, seconds),) = points
    assert ("s", "search", "mcp_call_failed", 0.01) == (
        unit,
        labels["gen_ai.tool.name"],
        labels["error.type"],
        round(seconds, 6),
    )
