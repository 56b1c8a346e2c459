"""One conversation of a real openai client on a real websocket, traced by us, by LangSmith, or not."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from tests.benchmarks.server import Servers

BARE, OURS, SILENT, UNSAMPLED, KEEPING, LANGSMITH = (
    "bare client",
    "otel-realtime",
    "otel-realtime, no audio",
    "otel-realtime, not sampled",
    "otel-realtime, recordings_dir",
    "langsmith wrap_realtime",
)


class NothingTraced(AssertionError):
    """A tracer was measured that traced nothing: its figures would be lies."""


def variables(servers: Servers, state: str) -> dict[str, str]:
    """The environment of a process that sends its traces to the servers' LangSmith."""
    return {
        "OTEL_REALTIME_STATE_DIR": state,
        "LANGSMITH_ENDPOINT": f"http://127.0.0.1:{servers.langsmith}",
        "LANGSMITH_API_KEY": "lsv2_pt_bench",
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_PROJECT": "bench",
    }


class Counting:
    """Counts the spans of the provider that we trace to.

    Args:
        sampled: the provider's sampler takes conversations.
    """

    def __init__(self, *, sampled: bool = True) -> None:
        from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

        counting = self
        self.spans = 0

        class Processor(SpanProcessor):
            def on_end(self, span: Any) -> None:
                counting.spans += 1

        self.provider = TracerProvider(sampler=None if sampled else ALWAYS_OFF)
        self.provider.add_span_processor(Processor())


@contextmanager
def traced(who: str, servers: Servers) -> Iterator[None]:
    """Set one of the tracers up as its user would, for all conversations of the block.

    Raises:
        NothingTraced: no span was made, or LangSmith got nothing; of what is not sampled: there was.
    """
    with tempfile.TemporaryDirectory() as state:
        os.environ.update(variables(servers, state))
        if who not in (OURS, SILENT, UNSAMPLED, KEEPING):
            yield
            return
        import otel_realtime

        counting = Counting(sampled=who != UNSAMPLED)
        settings = otel_realtime.Settings(record_audio=who in (OURS, KEEPING))
        otel_realtime.instrument(tracer_provider=counting.provider, settings=settings)
        before = servers.counted()
        try:
            yield
        finally:
            otel_realtime.uninstrument()
            delivered = otel_realtime.flush(60)
        arrived = bool(counting.spans and delivered and before != servers.counted())
        if arrived is (who == UNSAMPLED):
            raise NothingTraced(f"{who}: {counting.spans} spans, delivered: {delivered}")


@asynccontextmanager
async def connected(
    who: str, servers: Servers, model: str, *, client: Any = None
) -> AsyncIterator[tuple[Any, Any]]:
    """Yield a connection, and what the app receives from: the connection or LangSmith's wrapper."""
    from openai import AsyncOpenAI

    url = f"ws://127.0.0.1:{servers.realtime}/v1"
    openai = AsyncOpenAI(api_key="bench", websocket_base_url=url)
    async with openai.realtime.connect(model=model) as connection:
        if who != LANGSMITH:
            yield connection, connection
            return
        from langsmith.integrations.openai_realtime import wrap_realtime

        async with wrap_realtime(connection, client=client) as wrapped:
            yield connection, wrapped


def langsmith_client(servers: Servers) -> Any:
    """LangSmith's own client, which sends to the servers' LangSmith."""
    from langsmith import Client

    return Client(api_url=f"http://127.0.0.1:{servers.langsmith}", api_key="lsv2_pt_bench")


def audio_of(event: Any) -> bytes | None:
    """The audio of a delta, which LangSmith's wrapper has to be given."""
    if event.type == "response.output_audio.delta":
        return base64.b64decode(event.delta)
    return None
