"""Bytes on each leg for a call of one minute, so that the README's figures stay true.

Counted on the wire by forwarders, headers and answers' requests included. ``python -m pytest -s``
prints the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import KEY, Places, StartApp, StartCollector
from tests.support.forwarder import Forwarder
from tests.support.processes import Collector
from tests.support.voice_process import Traced, in_jaeger, in_sandbox

pytestmark = pytest.mark.collector

GZIP = {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}


@dataclass(frozen=True)
class Legs:
    """A Collector with a forwarder on every leg of its own and of a process.

    Attributes:
        app: from the process to the Collector.
        runs: from the process to LangSmith.
        langsmith: from the Collector to LangSmith.
        jaeger: from the Collector to Jaeger.
    """

    collector: Collector
    app: Forwarder
    runs: Forwarder
    langsmith: Forwarder
    jaeger: Forwarder

    def kilobytes(self) -> dict[str, float]:
        """What went over each leg so far, in kB (1000 bytes)."""
        legs = ("app", "runs", "langsmith", "jaeger")
        return {leg: round(getattr(self, leg).sent / 1000, 1) for leg in legs}


@pytest.fixture
def legs(places: Places, start_collector: StartCollector) -> Iterator[Legs]:
    """Counted ways to the places."""
    sandbox = places.sandbox.url.removeprefix("http://")
    with ExitStack() as stack:
        runs, langsmith, jaeger = (
            stack.enter_context(Forwarder(target))
            for target in (sandbox, sandbox, places.jaeger.otlp)
        )
        collector = start_collector(
            *("config.yaml", "config.jaeger.yaml"),
            LANGSMITH_API_KEY=KEY,
            LANGSMITH_OTLP_ENDPOINT=f"{langsmith.url}/otel",
            JAEGER_OTLP_ENDPOINT=jaeger.address,
        )
        app = stack.enter_context(Forwarder(collector.http.removeprefix("http://")))
        yield Legs(collector, app, runs, langsmith, jaeger)


def one_minute(
    places: Places, legs: Legs, start_app: StartApp, root_by: str, **env: str
) -> tuple[Traced, dict[str, float]]:
    """Hold the call; what it traced, and the kB on each leg when it has arrived everywhere."""
    app = start_app("--minute", OTEL_EXPORTER_OTLP_ENDPOINT=legs.app.url, **env)
    (call,) = app.talked()
    report = app.flushed()
    assert (True, True) == (report["delivered"], report["exported"])
    in_jaeger(places.jaeger, call)
    in_sandbox(places.sandbox, call, root_by=root_by)
    return call, legs.kilobytes()


@pytest.mark.parametrize(
    ("leg", "env", "most"),
    [
        ("collector", {}, {"app": 250, "runs": 5850, "langsmith": 25, "jaeger": 20}),
        ("collector", GZIP, {"app": 35, "runs": 5850, "langsmith": 25, "jaeger": 20}),
        ("direct", GZIP, {"app": 35, "runs": 5850, "langsmith": 0, "jaeger": 20}),
        ("direct", {**GZIP, "OTEL_REALTIME_RECORD_AUDIO": "false"}, {"runs": 40, "langsmith": 0}),
        ("direct", {**GZIP, "OTEL_REALTIME_CAPTURE_CONTENT": "false"}, {"runs": 30, "jaeger": 16}),
    ],
    ids=["collector", "collector gzip", "direct", "direct without sound", "direct without content"],
)
def test_bytes_of_a_minute(
    places: Places,
    legs: Legs,
    start_app: StartApp,
    leg: str,
    env: dict[str, str],
    most: dict[str, float],
) -> None:
    """Each leg stays below its figure; the recording is most of what a process sends."""
    key = {**places.key(), "LANGSMITH_ENDPOINT": legs.runs.url, "LANGSMITH_TRACING": "true"}
    call, found = one_minute(
        places, legs, start_app, "runs_api", OTEL_REALTIME_LANGSMITH=leg, **key, **env
    )
    print(f"\n{leg} {env}: {len(call.spans)} spans, kB by leg: {found}")
    assert 80 <= len(call.spans) <= 90
    assert {} == {name: found[name] for name, limit in most.items() if found[name] > limit}


def test_bytes_of_a_minute_without_a_key(places: Places, legs: Legs, start_app: StartApp) -> None:
    """Without a key in the process nothing but OTLP leaves it."""
    call, found = one_minute(places, legs, start_app, "otlp", **GZIP)
    print(f"\nno key: {len(call.spans)} spans, kB by leg: {found}")
    assert 0 == found["runs"]
    assert 35 > max(found.values())
