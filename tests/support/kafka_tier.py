"""Collectors before and behind Kafka, and what is compared of them with what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.e2e.binaries import COLLECTOR, JAEGER
from tests.support.call_load import Call
from tests.support.counting_backend import CountingBackend
from tests.support.kafka import Kafka
from tests.support.processes import Collector, Jaeger
from tests.support.programs import program
from tests.support.readme import blocks
from tests.support.waiting import wait_for

#: The configs of each kind of Collector.
GATEWAY: Final = ("config.yaml", "config.kafka.yaml")
TO_LANGSMITH: Final = ("config.yaml", "config.kafka-langsmith.yaml")
TO_JAEGER: Final = (
    *("config.yaml", "config.jaeger.yaml", "config.jaeger-only.yaml", "config.kafka-jaeger.yaml"),
)
TO_BOTH: Final = (
    *("config.yaml", "config.jaeger.yaml", "config.kafka-langsmith.yaml"),
    "config.kafka-jaeger.yaml",
)
TO_FILES: Final = ("config.yaml", "config.kafka-archive.yaml")
KEY: Final = {"LANGSMITH_API_KEY": "lsv2_pt_test"}


@dataclass
class Tier:
    """Kafka with what stands before and behind it.

    Attributes:
        topic: of this test.
        langsmith: what stands where LangSmith is.
        stack: ends what was started.
        folder: of the Collectors.
    """

    kafka: Kafka
    topic: str
    langsmith: CountingBackend
    stack: ExitStack
    folder: Path
    _count: int = field(default=0)

    def collector(self, configs: Sequence[str], **env: str) -> Collector:
        """Start a Collector for this test's topic."""
        self._count += 1
        collector = Collector(
            program(COLLECTOR),
            self.folder / f"collector-{self._count}",
            configs,
            KAFKA_BROKERS=self.kafka.bootstrap,
            KAFKA_TOPIC=self.topic,
            KAFKA_GROUP_LANGSMITH=f"{self.topic}-langsmith",
            KAFKA_GROUP_JAEGER=f"{self.topic}-jaeger",
            KAFKA_GROUP_ARCHIVE=f"{self.topic}-archive",
            **({"LANGSMITH_OTLP_ENDPOINT": self.langsmith.endpoint} | env),
        )
        return self.stack.enter_context(collector)

    def jaeger(self, traces: int) -> Jaeger:
        """Start a Jaeger that keeps so many traces."""
        jaeger = Jaeger(program(JAEGER), self.folder / "jaeger", JAEGER_MAX_TRACES=str(traces + 10))
        return self.stack.enter_context(jaeger)


def page_command(program: str) -> str:
    """The one command of the README's that runs a program."""
    (found,) = (
        line for text in blocks("sh") for line in text.splitlines() if line.startswith(program)
    )
    return found


def expected(calls: Sequence[Call]) -> set[tuple[bytes, bytes]]:
    """The (trace id, span id) of all spans of these calls."""
    return {(call.trace_id, span) for call in calls for span in call.span_ids}


def arrive(langsmith: CountingBackend, calls: Sequence[Call], *, timeout_s: float = 60) -> None:
    """Wait until every span of the calls is at LangSmith; there is nothing else."""
    wanted = sum(len(call.span_ids) for call in calls)
    wait_for(
        lambda: len(langsmith.seen) >= wanted,
        f"{wanted} spans at LangSmith",
        timeout_s=timeout_s,
        every_s=0.2,
    )
    assert expected(calls) == set(langsmith.seen)


def each_once_in_jaeger(jaeger: Jaeger, calls: Sequence[Call]) -> None:
    """Every call is in Jaeger with each of its spans once, whatever was sent twice."""
    for call in calls:
        found = jaeger.wait(call.trace_id.hex(), len(call.span_ids), timeout_s=60)
        ids = sorted(span["spanID"] for span in found)
        assert sorted(span.hex() for span in call.span_ids) == ids
