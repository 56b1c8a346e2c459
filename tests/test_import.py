"""Importing the package is cheap; what a call needs is loaded when it is switched on."""

from __future__ import annotations

import subprocess
import sys

import pytest

import otel_realtime

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
    delivery = {"requests", "otel_realtime.langsmith.delivery", "otel_realtime.langsmith.exporter"}
    assert wanted <= loaded
    assert (delivery <= loaded) == bool(key)
    assert {"openai", "langsmith"}.isdisjoint(loaded)


def test_the_public_names_are_there() -> None:
    """Sorted, and every one can be had."""
    assert sorted(otel_realtime.__all__) == otel_realtime.__all__
    assert [] == [name for name in otel_realtime.__all__ if not hasattr(otel_realtime, name)]
