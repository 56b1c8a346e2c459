"""A real Kafka, and Collectors before and behind it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import otel_realtime
from tests.platform.kafka_jars import KAFKA
from tests.support import minute
from tests.support.call_load import CallLoad
from tests.support.counting_backend import CountingBackend
from tests.support.kafka import Kafka
from tests.support.kafka_tier import Tier, page_command
from tests.support.programs import program
from tests.support.traces import Traces


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Three brokers for all tests; each test has a topic of its own."""
    binary = program(KAFKA)
    with Kafka(binary, tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture
def load(traces: Traces, process: pytest.MonkeyPatch) -> CallLoad:
    """A minute of a call, traced by an app without a LangSmith key: everything goes by OTLP."""
    process.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    otel_realtime.instrument(tracer_provider=traces.provider)
    minute.hold("thread")
    process.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    return CallLoad(traces.spans)


@pytest.fixture
def tier(kafka: Kafka, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tier]:
    """The tier with a topic of the test's."""
    topic = f"spans-{time.time_ns()}"
    script, *arguments = shlex.split(page_command("kafka-topics.sh"))
    assert arguments[:2] == ["--bootstrap-server", "kafka:9092"]
    kafka.tool(script, [topic if word == "otlp_spans" else word for word in arguments[2:]])
    with CountingBackend() as langsmith, ExitStack() as stack:
        yield Tier(kafka, topic, langsmith, stack, tmp_path)
