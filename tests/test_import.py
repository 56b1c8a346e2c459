"""Importing the package is cheap; what a call needs is loaded when it is switched on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import otel_realtime

REPOSITORY = Path(__file__).parents[1]
#: Imported by the app or when needed, never by ``import otel_realtime``.
HEAVY = ("numpy", "requests", "langsmith", "openai", "websockets", "aiohttp", "agents", "soxr")
HEAVY += ("soundfile", "fsspec", "opentelemetry.exporter", "google.protobuf", "grpc", "starlette")


def loaded_after(code: str, **environment: str) -> set[str]:
    """The modules of a new process that ran the code."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_importing_loads_no_heavy_package() -> None:
    """Nothing but OpenTelemetry's own API, SDK and instrumentation base."""
    loaded = loaded_after("import otel_realtime")
    assert [] == [name for name in HEAVY if name in loaded]


def test_importing_loads_what_set_up_needs() -> None:
    """What conversations are made of, which is most of the package, comes with ``instrument()``."""
    loaded = loaded_after("from otel_realtime import Settings, conversation, instrument, using")
    parts = ("conversation.engine", "core.protocol.state", "delivery.finisher", "tracing.trace")
    assert [] == [name for name in parts if f"otel_realtime.{name}" in loaded]
    assert 70 > len([name for name in loaded if name.startswith("otel_realtime")])


def test_a_frame_of_no_conversation_loads_nothing() -> None:
    """Reports of frameworks that hold no Realtime conversation, and handshakes of other paths."""
    loaded = loaded_after(
        "from otel_realtime.conversation.services import SOCKETS\n"
        "assert not SOCKETS.is_realtime('/socket.io/') and SOCKETS.is_realtime('/v1/realtime')\n"
        "SOCKETS.played('item_1', 0, 20.0)\n"
        "assert SOCKETS.tool('call_1') is None and SOCKETS.handover(None) is None"
    )
    assert "otel_realtime.conversation.sockets" not in loaded


@pytest.mark.parametrize("key", ["", "lsv2_key"])
def test_instrument_loads_what_the_first_call_would_wait_for(key: str) -> None:
    """The writer always, the delivery when this process delivers to LangSmith; in the background."""
    loaded = loaded_after(
        "import otel_realtime; otel_realtime.instrument()\n"
        "from otel_realtime.conversation.services import PROCESS\n"
        "assert PROCESS.loading.wait()",
        LANGSMITH_TRACING="true",
        LANGSMITH_API_KEY=key,
    )
    wanted = {"numpy", "otel_realtime.recording.writer", "otel_realtime.recording.render"}
    wanted |= {"otel_realtime.conversation.engine", "otel_realtime.langsmith.route"}
    delivery = {"requests", "otel_realtime.langsmith.delivery", "otel_realtime.langsmith.exporter"}
    assert wanted <= loaded
    assert (delivery <= loaded) == bool(key)
    assert {"openai", "langsmith"}.isdisjoint(loaded)


def test_a_call_after_instrument_imports_nothing() -> None:
    """Neither its start nor its frames: an event loop would stand still meanwhile."""
    loaded_after(
        "import otel_realtime; otel_realtime.instrument()\n"
        "from otel_realtime.conversation.services import PROCESS\n"
        "from tests.support.calls import delta_frame\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "assert PROCESS.loading.wait()\n"
        "before = set(sys.modules)\n"
        "with otel_realtime.conversation(tracer_provider=TracerProvider()) as call:\n"
        '    call.received(\'{"type":"session.created","session":{}}\')\n'
        "    call.received(delta_frame(b'ab', 'item_1', 'resp_1', 0))\n"
        '    call.received(\'{"type":"response.done","response":{}}\')\n'
        "new = sorted(name for name in set(sys.modules) - before if 'otel_realtime' in name)\n"
        "assert not new, new",
        PYTHONPATH=str(REPOSITORY),
        OTEL_REALTIME_STATE_DIR=tempfile.mkdtemp(),
        OTEL_REALTIME_LANGSMITH="off",
    )


def test_nor_does_a_call_that_a_worker_delivers() -> None:
    """What writes it is there, and what would send it is not."""
    loaded_after(
        "import otel_realtime; otel_realtime.instrument()\n"
        "from otel_realtime.conversation.services import PROCESS\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "assert PROCESS.loading.wait()\n"
        "before = set(sys.modules)\n"
        "with otel_realtime.conversation(tracer_provider=TracerProvider()) as call:\n"
        '    call.received(\'{"type":"session.created","session":{}}\')\n'
        "assert otel_realtime.flush(20)\n"
        "new = sorted(name for name in set(sys.modules) - before if 'otel_realtime' in name)\n"
        "assert not new, new\n"
        "assert 'otel_realtime.langsmith.http' not in sys.modules",
        PYTHONPATH=str(REPOSITORY),
        OTEL_REALTIME_STATE_DIR=tempfile.mkdtemp(),
        OTEL_REALTIME_DELIVER="worker",
        LANGSMITH_TRACING="true",
    )


def test_the_public_names_are_there() -> None:
    """Sorted, and every one can be had."""
    assert sorted(otel_realtime.__all__) == otel_realtime.__all__
    assert [] == [name for name in otel_realtime.__all__ if not hasattr(otel_realtime, name)]
    assert set(otel_realtime.__all__) <= set(dir(otel_realtime))


def test_a_name_that_is_not_there_is_said_as_of_any_module() -> None:
    """A typing error of the app's."""
    with pytest.raises(
        AttributeError, match="module 'otel_realtime' has no attribute 'instrumnet'"
    ):
        otel_realtime.instrumnet  # noqa: B018
