"""OTLP endpoints of both protocols: real servers that take requests, refuse them, or speak another one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import certifi
import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from otel_realtime.doctor.model import Result
from otel_realtime.doctor.otlp import look
from tests.support.doctor import SECRET_KEY, Asked, Reply, Web, by_id, here, page
from tests.support.processes import free_ports

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"


def traces(process: pytest.MonkeyPatch, url: str, **more: str) -> Result:
    """What is found of spans with an endpoint."""
    process.setenv(ENDPOINT, url)
    process.setenv("OTEL_METRICS_EXPORTER", "none")
    for name, value in more.items():
        process.setenv(name, value)
    return by_id(look(here(4.0)))["otlp.traces"]


def over_http(process: pytest.MonkeyPatch, reply: Reply, **more: str) -> tuple[Result, list[Asked]]:
    """What is found of spans, and what a server was asked."""
    with Web(lambda _: reply) as web:
        return traces(process, web.url, **more), web.asked


# -- HTTP ------------------------------------------------------------------------------------------


def test_one_that_takes_requests(process: pytest.MonkeyPatch) -> None:
    """It gets an empty request at the path of spans, with the headers of the environment."""
    headers = f"authorization=Bearer%20{SECRET_KEY},x-tenant=a"
    found, asked = over_http(process, Reply(200, b""), OTEL_EXPORTER_OTLP_HEADERS=headers)
    assert "ok" == found.status
    (request,) = asked
    assert ("POST", "/v1/traces", b"") == (request.method, request.path, request.body)
    assert f"Bearer {SECRET_KEY}" == request.headers["authorization"]
    assert "a" == request.headers["x-tenant"]


def test_metrics_are_asked_for_too(process: pytest.MonkeyPatch) -> None:
    """At their own path."""
    with Web(lambda asked: Reply(200 if asked.path == "/v1/traces" else 404, b"")) as web:
        process.setenv(ENDPOINT, web.url)
        found = by_id(look(here()))
    assert ("ok", "fail") == (found["otlp.traces"].status, found["otlp.metrics"].status)
    assert "metrics would be lost" == found["otlp.metrics"].effect


@pytest.mark.parametrize(
    ("reply", "seen", "fix"),
    [
        (Reply(401, "no"), "refused: HTTP 401, no", "check OTEL_EXPORTER_OTLP_HEADERS"),
        (Reply(404, ""), "HTTP 404", "is a base, to which /v1/traces is added"),
        (Reply(302, headers={"Location": "/x"}), "redirect to /x", "and take it for success"),
        (page(), "answers with a web page", "no OTLP endpoint"),
        (Reply(500, "ill"), "HTTP 500, ill", "look at the Collector's own log"),
        (
            Reply(400, "Client sent an HTTP request to an HTTPS server.\n"),
            "the server speaks TLS on this port",
            "use https:// in the endpoint",
        ),
        (Reply(reset=True), "the server", "check that it speaks HTTP"),
        (Reply(wait_s=5), "no answer within 1.8 s", "check the address"),
    ],
    ids=["401", "404", "redirect", "page", "500", "tls", "reset", "slow"],
)
def test_one_that_takes_none(
    process: pytest.MonkeyPatch, reply: Reply, seen: str, fix: str
) -> None:
    """Each with its own fix."""
    found, _ = over_http(process, reply)
    assert "fail" == found.status
    assert seen in found.seen
    assert fix in found.fix
    assert "the spans of a call would be lost" in found.effect


def test_one_that_dislikes_an_empty_request(process: pytest.MonkeyPatch) -> None:
    """It may take spans all the same."""
    assert "warn" == over_http(process, Reply(400, "empty"))[0].status


def test_nothing_listens(process: pytest.MonkeyPatch) -> None:
    """The Collector was not started."""
    (port,) = free_ports(1)
    found = traces(process, f"http://127.0.0.1:{port}")
    assert ("fail", True) == (found.status, "connection refused" in found.seen)


def test_its_certificate(process: pytest.MonkeyPatch, certificate: tuple[Path, Path]) -> None:
    """It is trusted with the SDK's own variable, which the advice names."""
    with Web(lambda _: Reply(200, b""), certificate) as web:
        found = traces(process, web.url)
        assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in found.fix
        trusted = traces(process, web.url, OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificate[0]))
    assert ("fail", "ok") == (found.status, trusted.status)


@pytest.mark.parametrize("bundle", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", ""])
def test_two_files_of_authorities(
    process: pytest.MonkeyPatch, certificate: tuple[Path, Path], bundle: str
) -> None:
    """The other one wins in an exporter that is not of ours, since its version 1.45."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        process.delenv(name, raising=False)
    if bundle:
        process.setenv(bundle, certifi.where())
    process.setenv("OTEL_METRICS_EXPORTER", "none")
    process.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificate[0]))
    with Web(lambda _: Reply(200, b""), certificate) as web:
        process.setenv(ENDPOINT, web.url)
        found = by_id(look(here()))
    assert "ok" == found["otlp.traces"].status
    said = bool(bundle) and find_spec("opentelemetry.exporter.http") is not None
    assert said == ("otlp.traces.authorities" in found)


def test_an_exporter_that_is_not_known(process: pytest.MonkeyPatch) -> None:
    """It is what ``configure()`` raises."""
    found = traces(process, "http://127.0.0.1:1", OTEL_TRACES_EXPORTER="pigeon")
    assert ("fail", True) == (found.status, "'pigeon' is not one of" in found.seen)


def test_a_timeout_that_the_exporter_refuses(process: pytest.MonkeyPatch) -> None:
    """That of gRPC raises."""
    more = {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon", PROTOCOL: "grpc"}
    found = traces(process, "http://127.0.0.1:1", **more)
    assert ("fail", True) == (found.status, "refuses its variables" in found.seen)


def test_what_the_sdk_does_not_take(process: pytest.MonkeyPatch) -> None:
    """It goes on with a default, and says so in a log that nobody reads."""
    process.setenv("OTEL_METRICS_EXPORTER", "none")
    process.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "zip")
    with Web(lambda _: Reply(200, b"")) as web:
        process.setenv(ENDPOINT, web.url)
        found = by_id(look(here()))
    if found["otlp.traces"].status == "fail":  # versions that raise
        assert "refuses its variables" in found["otlp.traces"].seen
    else:
        assert "zip" in found["otlp.traces.variables"].seen


def test_without_an_endpoint_nothing_is_asked() -> None:
    """Nothing is sent to this machine unless somebody asked for it."""
    (found,) = look(here())
    assert ("otlp.traces", "info") == (found.id, found.status)


def test_langsmith_s_own_endpoint_is_not_asked_twice(process: pytest.MonkeyPatch) -> None:
    """``configure()`` leaves that exporter out where this process delivers by itself."""
    process.setenv("LANGSMITH_TRACING", "true")
    process.setenv("LANGSMITH_API_KEY", SECRET_KEY)
    process.setenv("OTEL_METRICS_EXPORTER", "none")
    process.setenv(ENDPOINT, "https://api.smith.langchain.com/otel")
    (found,) = look(here())
    assert "info" == found.status


# -- gRPC ------------------------------------------------------------------------------------------


class Service(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans, or refuses them with a status."""

    def __init__(self) -> None:
        self.refuse: grpc.StatusCode | None = None
        self.why = "no"
        self.asked: list[tuple[Any, dict[str, str]]] = []

    def Export(self, request: Any, context: Any) -> Any:
        self.asked.append(
            (request, {pair.key: pair.value for pair in context.invocation_metadata()})
        )
        if self.refuse is not None:
            context.abort(self.refuse, self.why)
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def service(certificate: tuple[Path, Path]) -> Iterator[tuple[Service, int, int]]:
    """A service on a plain port and on one with TLS."""
    server, service = grpc.server(ThreadPoolExecutor(4)), Service()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(service, server)
    plain = server.add_insecure_port("127.0.0.1:0")
    cert, key = certificate
    pair = (key.read_bytes(), cert.read_bytes())
    secure = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    yield service, plain, secure
    server.stop(None)


def test_grpc_that_takes_requests(
    process: pytest.MonkeyPatch, service: tuple[Service, int, int]
) -> None:
    """It gets an empty request, with the headers of the environment."""
    taken, plain, _ = service
    url = f"http://127.0.0.1:{plain}"
    process.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-key={SECRET_KEY}")
    found = traces(process, url, **{PROTOCOL: "grpc"})
    assert ("ok", f"127.0.0.1:{plain} (plain): takes requests") == (found.status, found.seen)
    ((request, headers),) = taken.asked
    assert 0 == len(request.resource_spans)
    assert SECRET_KEY == headers["x-key"]


@pytest.mark.parametrize("status", ["UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"])
def test_grpc_that_refuses(
    process: pytest.MonkeyPatch, service: tuple[Service, int, int], status: str
) -> None:
    """By its status."""
    service[0].refuse = grpc.StatusCode[status]
    found = traces(process, f"http://127.0.0.1:{service[1]}", **{PROTOCOL: "grpc"})
    assert ("fail", True) == (found.status, f"refused: {status}, no" in found.seen)
    assert found.fix


def test_what_grpc_says_of_a_token_is_shown_without_it(
    process: pytest.MonkeyPatch, service: tuple[Service, int, int]
) -> None:
    """Some servers repeat what they were sent."""
    service[0].refuse = grpc.StatusCode.UNAUTHENTICATED
    service[0].why = f"unknown authorization: Bearer {SECRET_KEY}"
    found = traces(process, f"http://127.0.0.1:{service[1]}", **{PROTOCOL: "grpc"})
    assert "unknown authorization: " in found.seen
    assert SECRET_KEY not in found.seen


def test_grpc_that_wants_to_know_its_client(
    process: pytest.MonkeyPatch, certificate: tuple[Path, Path]
) -> None:
    """gRPC only speaks of corrupt data then."""
    cert, key = (path.read_bytes() for path in certificate)
    server = grpc.server(ThreadPoolExecutor(1))
    mutual = grpc.ssl_server_credentials([(key, cert)], cert, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", mutual)
    server.start()
    trusting = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate[0]), PROTOCOL: "grpc"}
    found = traces(process, f"https://127.0.0.1:{port}", **trusting)
    server.stop(None)
    assert "fail" == found.status
    assert "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE" in found.fix


def test_grpc_with_tls(
    process: pytest.MonkeyPatch,
    service: tuple[Service, int, int],
    certificate: tuple[Path, Path],
) -> None:
    """Not trusted, then trusted."""
    url = f"https://127.0.0.1:{service[2]}"
    found = traces(process, url, **{PROTOCOL: "grpc"})
    trusted = traces(process, url, OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificate[0]))
    assert ("fail", "ok") == (found.status, trusted.status)
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in found.fix


def test_grpc_to_a_port_of_http(process: pytest.MonkeyPatch) -> None:
    """The most frequent mistake."""
    with Web(lambda _: Reply(200, b"")) as web:
        found = traces(process, web.url, **{PROTOCOL: "grpc"})
    assert "fail" == found.status
    assert "http/protobuf" in found.fix


def test_http_to_a_port_of_grpc(
    process: pytest.MonkeyPatch, service: tuple[Service, int, int]
) -> None:
    """The other way round."""
    found = traces(process, f"http://127.0.0.1:{service[1]}")
    assert "fail" == found.status
    assert "check that it speaks HTTP" in found.fix


def test_grpc_where_nothing_listens(process: pytest.MonkeyPatch) -> None:
    """It does not use up its time."""
    (port,) = free_ports(1)
    found = traces(process, f"http://127.0.0.1:{port}", **{PROTOCOL: "grpc"})
    assert ("fail", True) == (found.status, "connection refused" in found.seen)
