"""The tier on Kafka, with real brokers: LangSmith away, a broker and Collectors killed, nothing lost."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import pytest

import otel_realtime
from tests.e2e.binaries import COLLECTOR, JAEGER
from tests.platform.kafka_jars import KAFKA
from tests.support import minute
from tests.support.call_load import Call, CallLoad, send_until_taken
from tests.support.counting_backend import CountingBackend
from tests.support.handmade import Maker, send_http
from tests.support.kafka import Kafka, Secured
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import Collector, Jaeger
from tests.support.programs import program
from tests.support.readme import blocks
from tests.support.traces import Traces
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.platform, pytest.mark.timeout(900)]

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


@pytest.fixture(scope="module")
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


def test_the_page_starts_the_collectors_that_are_tested() -> None:
    """The README's commands name the files that this module runs."""
    lines = [line for text in blocks("sh") for line in text.splitlines() if "config.kafka" in line]
    named = [tuple(re.findall(r"--config=(\S+)", line)) for line in lines]
    assert [GATEWAY, TO_LANGSMITH, TO_JAEGER, TO_FILES] == named


@pytest.fixture
def tier(kafka: Kafka, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tier]:
    """The tier with a topic of the test's."""
    topic = f"spans-{time.time_ns()}"
    script, *arguments = shlex.split(page_command("kafka-topics.sh"))
    assert arguments[:2] == ["--bootstrap-server", "kafka:9092"]
    kafka.tool(script, [topic if word == "otlp_spans" else word for word in arguments[2:]])
    with CountingBackend() as langsmith, ExitStack() as stack:
        yield Tier(kafka, topic, langsmith, stack, tmp_path)


KEY: Final = {"LANGSMITH_API_KEY": "lsv2_pt_test"}


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


def test_every_span_is_once_in_each_backend(tier: Tier, load: CallLoad) -> None:
    """Undisturbed, LangSmith, Jaeger and the files get each span exactly once."""
    jaeger = tier.jaeger(100)
    gateway = tier.collector(GATEWAY)
    tier.collector(TO_BOTH, **KEY, JAEGER_OTLP_ENDPOINT=jaeger.otlp)
    files = tier.folder / "archive"
    tier.collector(TO_FILES, OTELCOL_ARCHIVE_DIR=str(files))
    calls = [load.copy(number) for number in range(1, 21)]
    assert send_until_taken(gateway.http, calls[0].body) == 1
    arrive(tier.langsmith, calls[:1])
    print(f"\n{load.bytes} bytes of OTLP are {tier.kafka.disk(tier.topic) // 3} in Kafka")
    for call in calls[1:]:
        assert send_until_taken(gateway.http, call.body) == 1

    arrive(tier.langsmith, calls)
    assert tier.langsmith.duplicates == 0
    each_once_in_jaeger(jaeger, calls)
    wait_for(lambda: len(archived(files)) >= len(expected(calls)), "every span in the files")
    assert sorted(expected(calls)) == sorted(archived(files))
    size = sum(path.stat().st_size for path in files.glob("*.jsonl"))
    print(f"{size // len(expected(calls))} bytes of JSON a span")


def archived(folder: Path) -> list[tuple[bytes, bytes]]:
    """The (trace id, span id) of every span in the files, one that stands twice twice."""
    texts = [path.read_text() for path in folder.glob("*.jsonl")]
    return [
        (bytes.fromhex(span["traceId"]), bytes.fromhex(span["spanId"]))
        for text in texts
        # What stands behind the last newline is being written.
        for line in text[: text.rfind("\n") + 1].splitlines()
        for group in json.loads(line)["resourceSpans"]
        for scope in group["scopeSpans"]
        for span in scope["spans"]
    ]


def test_a_span_that_comes_twice_is_once_in_jaeger(tier: Tier, load: CallLoad) -> None:
    """A call that is sent again, as after a lost answer, changes nothing in Jaeger; LangSmith sees the same ids."""
    jaeger = tier.jaeger(100)
    gateway = tier.collector(GATEWAY)
    tier.collector(TO_BOTH, **KEY, JAEGER_OTLP_ENDPOINT=jaeger.otlp)
    call = load.copy(1)
    for _ in range(2):
        send_until_taken(gateway.http, call.body)
    wait_for(lambda: tier.langsmith.duplicates == load.size, "the call twice", timeout_s=60)
    last = load.copy(2)
    send_until_taken(gateway.http, last.body)
    each_once_in_jaeger(jaeger, [last, call])
    arrive(tier.langsmith, [call, last])


def test_the_archive_goes_on_where_it_was(tier: Tier, load: CallLoad) -> None:
    """A killed Collector's files are kept, also those that were set aside, and the rest follows."""
    gateway = tier.collector(GATEWAY)
    files, small = tier.folder / "archive", tier.folder / "small.yaml"
    small.write_text("exporters: {file/archive: {rotation: {max_megabytes: 4}}}")
    archive = tier.collector((*TO_FILES, str(small)), OTELCOL_ARCHIVE_DIR=str(files))
    calls: list[Call] = []
    for start in (1, 16, 31):
        calls.extend(load.copy(number) for number in range(start, start + 15))
        for call in calls[-15:]:
            send_until_taken(gateway.http, call.body)
        wait_for(lambda: set(archived(files)) == expected(calls), "the calls", timeout_s=60)
        archive.kill()
        archive.start()
    assert len(list(files.glob("spans-*-size.jsonl"))) >= 1


def test_what_langsmith_refuses_for_good_waits_for_the_right_key(
    tier: Tier, load: CallLoad
) -> None:
    """A wrong key (401) skips nothing: after a restart with the right one LangSmith has everything."""
    gateway = tier.collector(GATEWAY)
    consumer = tier.collector(TO_LANGSMITH, **KEY)
    tier.langsmith.status = 401
    calls = [load.copy(number) for number in range(1, 11)]
    for call in calls:
        send_until_taken(gateway.http, call.body)
    wait_for(lambda: tier.langsmith.refused > 0, "a refused request", timeout_s=60)
    consumer.process.stop()
    tier.langsmith.status = 200
    consumer.start()
    arrive(tier.langsmith, calls)
    assert tier.langsmith.duplicates == 0


def test_jaeger_away_and_its_collector_killed_holds_up_nothing(tier: Tier, load: CallLoad) -> None:
    """LangSmith goes on; Jaeger has everything when it is back, from a Collector that was killed meanwhile."""
    jaeger = tier.jaeger(100)
    gateway = tier.collector(GATEWAY)
    tier.collector(TO_LANGSMITH, **KEY)
    consumer = tier.collector(TO_JAEGER, JAEGER_OTLP_ENDPOINT=jaeger.otlp)
    first, *rest = (load.copy(number) for number in range(1, 21))
    send_until_taken(gateway.http, first.body)
    each_once_in_jaeger(jaeger, [first])
    jaeger.process.kill()
    for call in rest:
        send_until_taken(gateway.http, call.body)
    arrive(tier.langsmith, [first, *rest])
    consumer.kill()
    consumer.start()
    # It kept its traces in memory.
    with jaeger:
        each_once_in_jaeger(jaeger, rest)


@pytest.mark.parametrize(("password", "arrives"), [("secret", True), ("wrong", False)])
def test_tls_and_a_password_to_the_brokers(
    tmp_path: Path, load: CallLoad, password: str, arrives: bool
) -> None:
    """The example's overlay takes gateway and consumer in; with another password nothing passes."""
    certificate = self_signed(tmp_path)
    secured = Secured(identity=certificate, user="collectors", password="secret")
    call = load.copy(1)
    with (
        Kafka(program(KAFKA), tmp_path / "kafka", count=1, secured=secured) as kafka,
        CountingBackend() as langsmith,
        ExitStack() as stack,
    ):
        kafka.tool("kafka-topics.sh", ["--create", "--topic", "otlp_spans"])
        gateway, _ = (
            stack.enter_context(
                Collector(
                    program(COLLECTOR),
                    tmp_path / configs[-1],
                    (*configs, "examples/kafka-tls.yaml"),
                    KAFKA_BROKERS=kafka.secured_address,
                    KAFKA_CA_FILE=str(certificate),
                    KAFKA_USERNAME=secured.user,
                    KAFKA_PASSWORD=password,
                    LANGSMITH_OTLP_ENDPOINT=langsmith.endpoint,
                    **KEY,
                )
            )
            for configs in (GATEWAY, TO_LANGSMITH)
        )
        send_until_taken(gateway.http, call.body)
        if arrives:
            arrive(langsmith, [call])
        else:
            wait_for(lambda: "SASL_AUTHENTICATION_FAILED" in gateway.process.text(), "a refusal")
            assert dict(langsmith.seen) == {}


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1, its own authority, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    command += " -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    both = folder / "identity.pem"
    both.write_bytes(b"".join((folder / f"{n}.pem").read_bytes() for n in ("key", "certificate")))
    return both


def test_the_gateway_keeps_what_kafka_does_not_take(tier: Tier, load: CallLoad) -> None:
    """With two of three brokers gone nothing can be written; it is on the gateway's disk until they are back."""
    gateway = tier.collector(GATEWAY)
    tier.collector(TO_LANGSMITH, **KEY)
    calls = [load.copy(number) for number in range(1, 31)]
    send_until_taken(gateway.http, calls[0].body)
    arrive(tier.langsmith, calls[:1])
    gone = tier.kafka.brokers[:2]
    for broker in gone:
        broker.kill()
    for call in calls[1:]:
        assert send_until_taken(gateway.http, call.body) == 1
    gateway.kill()
    gateway.start()
    for broker in gone:
        broker.begin()
    for broker in gone:
        broker.ready()
    arrive(tier.langsmith, calls, timeout_s=120)


def test_large_spans_pass_every_limit_on_the_way(tier: Tier) -> None:
    """A span of 12 MB and batches that no compression makes small go through Kafka to both backends."""
    jaeger = tier.jaeger(100)
    gateway = tier.collector(GATEWAY)
    with OtlpRecorder() as langsmith:
        both = {"JAEGER_OTLP_ENDPOINT": jaeger.otlp, "LANGSMITH_OTLP_ENDPOINT": langsmith.endpoint}
        tier.collector(TO_BOTH, **KEY, **both)
        maker = Maker()
        maker.span("large", {f"value.{index}": token_hex(60_000) for index in range(100)})
        for index in range(100):
            maker.span(f"event {index}", {f"value.{part}": token_hex(8_000) for part in range(10)})
        trace = maker.finish()
        assert send_http(gateway.http, trace)
        names = {span.name for span in langsmith.wait(102, timeout_s=60)}
        assert {span.name for span in trace.spans} == names
        assert len(jaeger.wait(trace.trace_id, 102)) == 102


@dataclass(frozen=True)
class Outage:
    """What an outage came to.

    Attributes:
        calls: of a minute each.
        spans: in all of them.
        sent_s: the wall-clock seconds in which they were sent.
        waiting: records that waited for LangSmith.
        disk: bytes of Kafka's data on all brokers.
        drain_s: from LangSmith's return until it had everything.
        duplicates: spans that LangSmith got more than once.
        cpu_us: CPU of one span, microseconds, by program.
        memory: most bytes of memory, by program.
    """

    calls: int
    spans: int
    sent_s: float
    waiting: int
    disk: int
    drain_s: float
    duplicates: int
    cpu_us: dict[str, float]
    memory: dict[str, int]


class Meter:
    """Sums the CPU of processes that are killed and started again."""

    def __init__(self) -> None:
        self._cpu: dict[str, float] = {}
        self.memory: dict[str, int] = {}

    def read(self, name: str, process: Any) -> None:
        """Take what a process has used until now; once before each end."""
        seconds, peak = process.used()
        self._cpu[name] = self._cpu.get(name, 0.0) + seconds
        self.memory[name] = max(self.memory.get(name, 0), peak)

    def per_span(self, spans: int) -> dict[str, float]:
        """CPU by name, microseconds a span."""
        return {name: round(1e6 * used / spans, 1) for name, used in self._cpu.items()}


def hold_out(tier: Tier, load: CallLoad, count: int) -> Outage:
    """LangSmith is away while ``count`` calls come in and a broker, a gateway and a consumer are killed."""
    meter, langsmith, kafka = Meter(), tier.langsmith, tier.kafka
    jaeger = tier.jaeger(count)
    gateway = tier.collector(GATEWAY)
    to_langsmith = tier.collector(TO_LANGSMITH, **KEY)
    to_jaeger = tier.collector(TO_JAEGER, JAEGER_OTLP_ENDPOINT=jaeger.otlp)
    before = [broker.used()[0] for broker in kafka.brokers]
    langsmith.status = 503
    spans = count * load.size
    sent = 0

    def send(number: int) -> Call:
        nonlocal sent
        call = load.copy(number)
        send_until_taken(gateway.http, call.body)
        sent += 1
        return Call(call.trace_id, call.span_ids, b"")

    def after(share: float) -> None:
        wait_for(lambda: sent >= share * count, "calls on their way", timeout_s=600, every_s=0.1)

    def kill(name: str, collector: Collector) -> None:
        meter.read(name, collector.process)
        collector.kill()
        collector.start()

    first = send(1)
    jaeger.wait(first.trace_id.hex(), load.size, timeout_s=60)
    wait_for(lambda: langsmith.refused > 0, "a request that LangSmith refuses", timeout_s=60)
    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        futures: list[Future[Call]] = [pool.submit(send, number) for number in range(2, count + 1)]
        after(0.25)
        broker = kafka.brokers[1]
        lost_cpu = broker.used()[0]
        broker.kill()
        after(0.5)
        kill("gateway", gateway)
        after(0.75)
        kill("to langsmith", to_langsmith)
        calls = [first, *(future.result() for future in futures)]
    sent_s = time.monotonic() - started

    # Jaeger is complete while LangSmith is still away.
    wait_for(
        lambda: to_jaeger.own_metric("otelcol_exporter_sent_spans", "otlp_grpc/jaeger") >= spans,
        "every span at Jaeger",
        timeout_s=300,
        every_s=1,
    )
    meter.read("to jaeger", to_jaeger.process)
    meter.read("jaeger", jaeger.process)
    assert dict(langsmith.seen) == {}
    waiting, disk = kafka.lag(f"{tier.topic}-langsmith"), kafka.disk(tier.topic)

    broker.begin()
    broker.ready()
    langsmith.status = 200
    back = time.monotonic()
    wait_for(lambda: len(langsmith.seen) >= spans / 2, "half of it", timeout_s=300)
    kill("to langsmith", to_langsmith)
    arrive(langsmith, calls, timeout_s=300)
    drain_s = time.monotonic() - back
    each_once_in_jaeger(jaeger, calls)
    wait_for(lambda: kafka.lag(f"{tier.topic}-langsmith") == 0, "no lag", timeout_s=60, every_s=1)
    meter.read("gateway", gateway.process)
    meter.read("to langsmith", to_langsmith.process)
    brokers = sum(one.used()[0] for one in kafka.brokers) + lost_cpu - sum(before)
    cpu = meter.per_span(spans) | {"brokers": round(1e6 * brokers / spans, 1)}
    return Outage(
        calls=count,
        spans=spans,
        sent_s=round(sent_s, 1),
        waiting=waiting,
        disk=disk,
        drain_s=round(drain_s, 1),
        duplicates=langsmith.duplicates,
        cpu_us=cpu,
        memory=meter.memory,
    )


def test_langsmith_away_a_broker_and_collectors_killed_nothing_is_lost(
    tier: Tier, load: CallLoad
) -> None:
    """20 minutes of a hundred calls: Jaeger has them meanwhile, LangSmith afterwards, each span once."""
    print(f"\n{hold_out(tier, load, 2_000)}")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_an_hour_of_a_hundred_calls_is_held(tier: Tier, load: CallLoad) -> None:
    """The same for the 528,000 spans of an hour."""
    print(f"\n{hold_out(tier, load, 6_000)}")
