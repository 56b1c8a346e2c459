"""Providers: the one that is set, and what either way to start an app would set up."""

from __future__ import annotations

import os
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_realtime.doctor.model import Result
from otel_realtime.doctor.providers import look, look_at_auto
from tests.support.doctor import by_id, here


def found() -> dict[str, Result]:
    """What is said of the provider."""
    return by_id(look(here()))


def auto() -> dict[str, Result]:
    """What is said of ``opentelemetry-instrument``."""
    return by_id(look_at_auto(here()))


def test_nothing_is_set_up_by_looking() -> None:
    """No provider, and no thread."""
    threads = set(threading.enumerate())
    assert "would export nothing" == found()["provider.configure"].seen
    auto()
    assert getattr(trace, "_TRACER_PROVIDER", None) is None
    assert set() == set(threading.enumerate()) - threads


def test_what_configure_would_set_up(process: pytest.MonkeyPatch) -> None:
    """By the code that sets it up."""
    process.setenv("OTEL_TRACES_EXPORTER", "console,otlp")
    process.setenv("OTEL_METRICS_EXPORTER", "console")
    expected = "would export spans to console, otlp_proto_http and metrics to console"
    assert expected == found()["provider.configure"].seen


def test_a_disabled_sdk_fails(process: pytest.MonkeyPatch) -> None:
    """Nothing is traced."""
    process.setenv("OTEL_SDK_DISABLED", "true")
    assert ("fail", ["provider.disabled"]) == (found()["provider.disabled"].status, list(found()))


def test_a_provider_that_is_set_is_listed(process: pytest.MonkeyPatch) -> None:
    """Its processors and their addresses, without what these hold of credentials."""
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint="http://user:pass@collector/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    process.setattr(trace, "_TRACER_PROVIDER", provider)
    result = found()["provider.current"]
    address = "SimpleSpanProcessor with OTLPSpanExporter to http://[secret]@collector/v1/traces"
    assert ("ok", True) == (result.status, result.seen.endswith(address))


def test_a_provider_that_exports_to_langsmith(process: pytest.MonkeyPatch) -> None:
    """Conversations would go by it, without recordings."""
    provider = TracerProvider(shutdown_on_exit=False)
    url = "https://api.smith.langchain.com/otel/v1/traces"
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=url)))
    process.setattr(trace, "_TRACER_PROVIDER", provider)
    result = found()["provider.current"]
    assert ("warn", f"remove an OTLP exporter to {url}") == (result.status, result.fix)


@pytest.mark.parametrize(
    ("text", "status"), [('file_format: "1.0"\n', "ok"), ("file_format: [", "fail"), (None, "fail")]
)
def test_a_file_of_configuration(
    process: pytest.MonkeyPatch, tmp_path: Path, text: str | None, status: str
) -> None:
    """It is read, and nothing is set up by it."""
    pytest.importorskip("opentelemetry.configuration")
    path = tmp_path / "otel.yaml"
    if text is not None:
        path.write_text(text)
    process.setenv("OTEL_CONFIG_FILE", str(path))
    assert status == found()["provider.file"].status
    assert getattr(trace, "_TRACER_PROVIDER", None) is None


@pytest.mark.parametrize("names", ["openai_realtime", "redis, openai_realtime", "*"])
def test_an_instrumentation_that_is_left_out_fails(process: pytest.MonkeyPatch, names: str) -> None:
    """``opentelemetry-instrument`` would trace no call."""
    process.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", names)
    assert "fail" == auto()["auto.entry_point"].status


def test_what_the_distro_sets_is_said() -> None:
    """Spans go to this machine, whether somebody listens or not."""
    if find_spec("opentelemetry.distro") is None:
        pytest.skip("no distro is installed")
    before = dict(os.environ)
    result = auto()["auto.distro"]
    assert "info" == result.status
    assert "the distro opentelemetry-distro sets OTEL_EXPORTER_OTLP_PROTOCOL=grpc" in result.seen
    assert "OTEL_TRACES_EXPORTER=none" in result.fix
    assert before == dict(os.environ)


def test_the_distro_s_protocol_and_a_port_of_http(process: pytest.MonkeyPatch) -> None:
    """gRPC to 4318 gets nothing through, though ``configure()`` does."""
    if find_spec("opentelemetry.distro") is None:
        pytest.skip("no distro is installed")
    process.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    result = auto()["auto.distro"]
    expected = "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
    assert ("warn", expected) == (result.status, result.fix)
    process.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    assert "ok" == auto()["auto.distro"].status


def test_no_distro(process: pytest.MonkeyPatch) -> None:
    """A name that is not installed stands for it."""
    process.setenv("OTEL_PYTHON_DISTRO", "none_of_that_name")
    assert "no distro is installed" == auto()["auto.distro"].seen
