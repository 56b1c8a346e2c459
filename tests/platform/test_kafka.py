"""The tier on Kafka, with real brokers: LangSmith away, a broker and Collectors killed, nothing lost."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex

import pytest

from tests.e2e.binaries import COLLECTOR
from tests.platform.kafka_jars import KAFKA
from tests.support.call_load import Call, CallLoad, send_until_taken
from tests.support.counting_backend import CountingBackend
from tests.support.handmade import Maker, send_http
from tests.support.kafka import Kafka, Secured
from tests.support.kafka_tier import (
    GATEWAY,
    KEY,
    TO_BOTH,
    TO_FILES,
    TO_JAEGER,
    TO_LANGSMITH,
    Tier,
    arrive,
    each_once_in_jaeger,
    expected,
)
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import Collector
from tests.support.programs import program
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.platform, pytest.mark.timeout(900)]


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
