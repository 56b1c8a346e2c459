"""TLS behind the Collector and past it: Jaeger, LangSmith, and a proxy that opens what goes there."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

import otel_realtime
from otel_realtime.delivery.transport import deadline, new_session
from otel_realtime.process.process import PROCESS
from tests.e2e.binaries import COLLECTOR, JAEGER
from tests.platform.desk import GOOD, Desk, desk, issuer, says
from tests.support.handmade import conversation, send_http
from tests.support.langsmith_server import serving
from tests.support.oidc_issuer import Issuer
from tests.support.opening_proxy import OpeningProxy
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import Collector, Jaeger
from tests.support.programs import program
from tests.support.waiting import wait_for

EVERYTHING: Final = ("config.yaml", "config.jaeger.yaml", "config.metrics.yaml")
__all__ = ["desk", "issuer"]


@pytest.mark.collector
def test_jaeger_may_want_tls_and_a_certificate(desk: Desk, tmp_path: Path) -> None:
    """The Collector trusts an authority of its own there, and proves who it is."""
    collector_binary = program(COLLECTOR)
    with Jaeger(program(JAEGER), tmp_path / "jaeger") as jaeger:
        # Jaeger's own receiver is a Collector's: the same keys.
        tls = {
            "cert_file": str(desk.server.certificate),
            "key_file": str(desk.server.key),
            "client_ca_file": str(desk.ours.file),
        }
        jaeger.process.stop()
        for key, value in tls.items():
            option = f"--config=yaml:receivers::otlp::protocols::grpc::tls::{key}: {value}"
            jaeger.process._command.append(option)
        jaeger.process.launch(jaeger._health)
        secure = {
            "JAEGER_OTLP_ENDPOINT": jaeger.otlp.replace("127.0.0.1", "localhost"),
            "JAEGER_OTLP_INSECURE": "false",
            "JAEGER_OTLP_CA_FILE": str(desk.ours.file),
            "JAEGER_OTLP_CERT_FILE": str(desk.client.certificate),
            "JAEGER_OTLP_KEY_FILE": str(desk.client.key),
        }
        configs = [*EVERYTHING, "config.jaeger-only.yaml"]
        with Collector(collector_binary, tmp_path / "one", configs, **secure) as collector:
            sent = conversation()
            assert send_http(collector.http, sent)
            assert 5 == len(jaeger.wait(sent.trace_id, 5))
        unproven = secure | {"JAEGER_OTLP_CERT_FILE": "", "JAEGER_OTLP_KEY_FILE": ""}
        with Collector(collector_binary, tmp_path / "two", configs, **unproven) as collector:
            sent = conversation()
            assert send_http(collector.http, sent)
            wait_for(partial(says, collector, "Exporting failed"), "a failed export")
            assert [] == jaeger.spans(sent.trace_id)


@pytest.fixture
def proxied(desk: Desk) -> Iterator[tuple[OtlpRecorder, OpeningProxy]]:
    """LangSmith behind a proxy that opens TLS, with a certificate of your own authority."""
    pair = desk.ours.issue("langsmith", "langsmith.invalid")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with OtlpRecorder(tls=context) as langsmith:
        port = urlsplit(langsmith.endpoint).port
        assert port is not None
        with OpeningProxy(port) as proxy:
            yield langsmith, proxy


@pytest.mark.collector
def test_the_collector_reaches_langsmith_through_a_proxy_that_opens_tls(
    proxied: tuple[OtlpRecorder, OpeningProxy], desk: Desk, tmp_path: Path
) -> None:
    """It is told the proxy and its authority."""
    langsmith, proxy = proxied
    variables = {
        "LANGSMITH_API_KEY": "lsv2_pt_x",
        "LANGSMITH_OTLP_ENDPOINT": "https://langsmith.invalid/otel",
        "LANGSMITH_OTLP_CA_FILE": str(desk.ours.file),
        "HTTPS_PROXY": proxy.url,
        "NO_PROXY": "jaeger",
    }
    with Collector(program(COLLECTOR), tmp_path, ["config.yaml"], **variables) as collector:
        assert send_http(collector.http, conversation())
        assert 5 == len(langsmith.wait(5))
    assert {"langsmith.invalid:443"} == set(proxy.asked)


def test_the_process_reaches_langsmith_through_a_proxy_that_opens_tls(
    process: pytest.MonkeyPatch, proxied: tuple[OtlpRecorder, OpeningProxy], desk: Desk
) -> None:
    """By the variables that `requests` reads."""
    langsmith, proxy = proxied
    process.setenv("HTTPS_PROXY", proxy.url)
    process.delenv("https_proxy", raising=False)
    process.setenv("REQUESTS_CA_BUNDLE", str(desk.ours.file))
    for name in ("NO_PROXY", "no_proxy", "CURL_CA_BUNDLE"):
        process.delenv(name, raising=False)
    body, headers = ExportTraceServiceRequest().SerializeToString(), {"x-api-key": "lsv2_pt_x"}
    with new_session() as session, deadline(10):
        url = "https://langsmith.invalid/otel/v1/traces"
        assert 200 == session.post(url, data=body, headers=headers, timeout=5).status_code
    assert (1, ["langsmith.invalid:443"]) == (len(langsmith.requests), proxy.asked)


def test_langsmith_gets_no_header_of_the_collector_s(process: pytest.MonkeyPatch) -> None:
    """The process's own deliveries have a key of their own."""
    for server in serving():
        process.setenv("LANGSMITH_ENDPOINT", server.url)
        process.setenv("LANGSMITH_API_KEY", "lsv2_pt_x")
        process.setenv("LANGSMITH_TRACING", "true")
        process.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{GOOD}")
        PROCESS.tracer_provider = TracerProvider(shutdown_on_exit=False)
        with otel_realtime.conversation() as call:
            call.received({"type": "session.created", "session": {"id": "sess_1"}})
        assert otel_realtime.flush(10)
        paths = {request.path for request in server.requests}
        assert any(path.endswith("/v1/traces") for path in paths), paths
        assert [] == [one.path for one in server.requests if "authorization" in one.headers]


@pytest.mark.parametrize(
    ("variable", "trusted"),
    [("REQUESTS_CA_BUNDLE", True), ("CURL_CA_BUNDLE", True), ("SSL_CERT_FILE", False)],
)
def test_the_process_own_deliveries_trust_what_requests_does(
    process: pytest.MonkeyPatch, desk: Desk, issuer: Issuer, variable: str, trusted: bool
) -> None:
    """LangSmith behind a proxy that opens TLS: as with LangSmith's own client."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        process.delenv(name, raising=False)
    process.setenv(variable, str(desk.ours.file))
    with new_session() as session:
        if trusted:
            assert 200 == session.get(f"{issuer.url}/keys", timeout=5).status_code
            return
        with pytest.raises(requests.exceptions.SSLError):
            session.get(f"{issuer.url}/keys", timeout=5)
