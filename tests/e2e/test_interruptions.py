"""What counts as an interruption: on each answer, on the root, and in the metric."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

import otel_realtime
from otel_realtime.settings import Settings
from tests.support.calls import tone
from tests.support.isolation import isolated
from tests.support.traces import Traces, facts

BEGAN_NS = 1_780_000_000_000_000_000

#: Time in ms, an event, and whether the client sent it.
Row = tuple[int, dict[str, Any], bool]


class Reported:
    """A conversation that is reported with its times; its answers, its root and its metrics."""

    def __init__(self) -> None:
        self.traces = Traces()
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider([self._reader], shutdown_on_exit=False)

    def feed(self, rows: list[Row]) -> None:
        """Report a stream."""
        otel_realtime.instrument(tracer_provider=self.traces.provider, meter_provider=self._meters)
        settings = Settings(langsmith="off")
        with otel_realtime.conversation(settings=settings) as call:
            for t, event, sent in sorted(rows, key=lambda row: row[0]):
                (call.sent if sent else call.received)(event, at_ns=BEGAN_NS + t * 1_000_000)
        assert otel_realtime.flush(20)

    @property
    def answers(self) -> list[tuple[Any, ...]]:
        """Generated, heard and interrupted, for each chat span."""
        keys = ("generated_ms", "heard_ms", "interrupted")
        return [
            tuple(facts(span).get(f"otel_realtime.{key}") for key in keys)
            for span in self.traces.spans
            if span.name.startswith("chat")
        ]

    @property
    def counted(self) -> tuple[Any, float]:
        """Interruptions of the root, and of the metric."""
        data = self._reader.get_metrics_data()
        found = 0.0
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == "otel_realtime.interruptions":
                        points = metric.data.data_points
                        found += sum(
                            point.value for point in points if isinstance(point, NumberDataPoint)
                        )
        return facts(self.traces.root)["otel_realtime.interruptions"], found


@pytest.fixture
def reported(tmp_path: Path) -> Iterator[Reported]:
    """A process whose app has another transport."""
    with isolated(tmp_path):
        yield Reported()


def got(t: int, kind: str, **keys: Any) -> list[Row]:
    """A server event."""
    return [(t, {"type": kind, **keys}, False)]


def sent(t: int, kind: str, **keys: Any) -> list[Row]:
    """A client event."""
    return [(t, {"type": kind, **keys}, True)]


def answer(t: int, name: str, ms: int) -> list[Row]:
    """A response with one item whose audio comes five times faster than it plays."""
    item = {"id": f"item_{name}", "type": "message", "role": "assistant", "content": []}
    response = {"id": f"resp_{name}", "conversation_id": "conv"}
    rows = got(t, "response.created", response=response)
    rows += got(t, "response.output_item.added", response_id=response["id"], item=item)
    for at in range(0, ms, 200):
        rows += got(
            t + at // 5,
            "response.output_audio.delta",
            response_id=response["id"],
            item_id=item["id"],
            content_index=0,
            delta=base64.b64encode(tone(200).tobytes()).decode(),
        )
    done = {**response, "status": "completed", "output": [item]}
    return rows + got(t + ms // 5, "response.done", response=done)


def truncate(t: int, name: str, ms: int) -> list[Row]:
    """The client's claim, and the server's answer."""
    keys = {"item_id": f"item_{name}", "content_index": 0, "audio_end_ms": ms}
    return [
        *sent(t, "conversation.item.truncate", **keys),
        *got(t + 20, "conversation.item.truncated", **keys),
    ]


SESSION = got(0, "session.created", session={"type": "realtime", "model": "gpt-realtime"})


def speech(t: int) -> list[Row]:
    """The caller begins to speak."""
    return got(t, "input_audio_buffer.speech_started", item_id=f"user_{t}", audio_start_ms=t)


def rest(t: int) -> list[Row]:
    """Something later, so that time passes."""
    return got(t, "rate_limits.updated", rate_limits=[])


def test_a_late_truncate_of_what_was_heard_is_none(reported: Reported) -> None:
    """The client reports its position once the answer has been played."""
    reported.feed([*SESSION, *answer(100, "a", 3_000), *truncate(3_400, "a", 2_980), *rest(5_000)])
    assert [(3_000, 2_980, False)] == reported.answers
    assert (0, 0) == reported.counted


def test_one_barge_in_over_two_queued_responses_is_one(reported: Reported) -> None:
    """Both were cut, and both say so; the caller interrupted once."""
    reported.feed(
        [
            *SESSION,
            *answer(100, "a", 5_000),
            *answer(1_200, "b", 2_000),
            *speech(2_100),
            *truncate(2_110, "a", 1_900),
            *truncate(2_111, "b", 0),
            *rest(8_000),
        ]
    )
    assert [(5_000, 1_900, True), (2_000, 0, True)] == reported.answers
    assert (1, 1) == reported.counted


def test_two_barge_ins_are_two(reported: Reported) -> None:
    """One after the other, each over what was heard then."""
    reported.feed(
        [
            *SESSION,
            *answer(100, "a", 5_000),
            *speech(2_100),
            *answer(3_000, "b", 2_000),
            *speech(3_600),
            *rest(8_000),
        ]
    )
    assert [(5_000, 2_000, True), (2_000, 600, True)] == reported.answers
    assert (2, 2) == reported.counted


def test_a_cancel_alone_proves_nothing(reported: Reported) -> None:
    """It stops generation; what was generated may well be played."""
    reported.feed(
        [*SESSION, *answer(100, "a", 3_000), *sent(1_100, "response.cancel"), *rest(5_000)]
    )
    assert [(3_000, 3_000, False)] == reported.answers
    assert (0, 0) == reported.counted


def test_a_cancel_and_a_new_response_are_a_flush(reported: Reported) -> None:
    """Push to talk: the client cancels, speaks, and asks for the next answer."""
    reported.feed(
        [
            *SESSION,
            *answer(100, "a", 3_000),
            *sent(1_100, "response.cancel"),
            *answer(1_900, "b", 1_000),
            *rest(5_000),
        ]
    )
    assert [(3_000, 1_000, True), (1_000, 1_000, False)] == reported.answers
    assert (1, 1) == reported.counted
