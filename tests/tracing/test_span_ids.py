"""Ids that follow from a conversation, and the provider's own for everything else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import NoOpTracer, Tracer

import otel_realtime
from otel_realtime.tracing.span_ids import chosen, derived_id, with_chosen_ids
from tests.support.traces import Traces


class Counting(IdGenerator):
    """The app's own generator."""

    def __init__(self) -> None:
        self.next: Callable[[], int] = count(1).__next__

    def generate_trace_id(self) -> int:
        return self.next()

    def generate_span_id(self) -> int:
        return self.next()

    def is_trace_id_random(self) -> bool:
        return False


def started(tracer: Tracer) -> int:
    """The id of a span that is started now."""
    return tracer.start_span("a", context=Context()).get_span_context().span_id


def test_only_what_is_started_in_the_block_has_the_chosen_id() -> None:
    """Before and after it, and for the tracer it was made from, the app's generator decides."""
    provider = TracerProvider(id_generator=Counting(), shutdown_on_exit=False)
    theirs = provider.get_tracer("ours")
    ours = with_chosen_ids(theirs)
    assert 2 == started(ours)
    with chosen(77):
        assert (77, 5) == (started(ours), started(theirs))
    assert 7 == started(ours)


def test_a_tracer_without_a_generator_stays_as_it_is() -> None:
    """One of another SDK, or of none."""
    tracer = NoOpTracer()
    assert tracer is with_chosen_ids(tracer)


def test_an_id_follows_from_the_conversation_and_the_key() -> None:
    """The same twice, another for any other conversation or key, and one that a span may have."""
    ids = [derived_id(t, r, key) for t in (1, 2) for r in (1, 2) for key in ("a", "b", "\ud83d")]
    assert ids == [
        derived_id(t, r, key) for t in (1, 2) for r in (1, 2) for key in ("a", "b", "\ud83d")
    ]
    assert 12 == len({*ids})
    assert all(0 < found < 2**64 for found in ids)


def test_a_response_whose_id_comes_again_is_another_span(traces: Traces) -> None:
    """Two spans never share an id, whatever the server says."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        for _ in range(2):
            call.received({"type": "response.created", "response": {"id": "r"}})
            call.received({"type": "response.done", "response": {"id": "r", "output": []}})
        call.received({"type": "response.created", "response": {"id": "s"}})
    ids = [span.context.span_id for span in traces.spans if span.context]
    assert len(ids) == len({*ids})
    assert 2 <= len([span for span in traces.spans if span.name.startswith("chat ")])
