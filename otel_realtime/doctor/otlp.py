"""Checks OTLP endpoints with an empty request to each, by the protocol and settings of its exporter.

The exporter is created as ``configure()`` creates it, so the SDK itself reads the variables: endpoint,
headers, certificates, compression. The exporter exports nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

from otel_realtime.credentials import without_secrets
from otel_realtime.delivery.otlp import chosen, endpoint, is_otlp, is_overruled, make_exporter
from otel_realtime.doctor.clock import skew
from otel_realtime.doctor.model import Result, Status, Surroundings
from otel_realtime.doctor.probe import BROKEN_OFF, CLIENT_UNKNOWN, Reply, send
from otel_realtime.doctor.sdk_log import listening
from otel_realtime.errors import ConfigError
from otel_realtime.setup.destinations import span_exporters
from otel_realtime.setup.providers import config_file, is_disabled

SIGNALS: Final = ("TRACES", "METRICS")
_GRPC: Final = "otlp_proto_grpc"
_LOST: Final = {
    "TRACES": "the spans of a call would be lost: this exporter gives a batch up after 10 s",
    "METRICS": "metrics would be lost",
}
#: Ports that Collectors listen on, by protocol: https://opentelemetry.io/docs/specs/otlp/
_PORTS: Final = {"grpc": 4317, "http": 4318}
_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
_CLIENT: Final = (
    "name a certificate that it trusts in OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, and its key in"
    " OTEL_EXPORTER_OTLP_CLIENT_KEY"
)
_MAYBE_CLIENT: Final = f"it may want to know the client: {_CLIENT}"
#: Response of Go's server to plain HTTP on a TLS port: https://pkg.go.dev/net/http
_WANTS_TLS: Final = b"HTTP request to an HTTPS server"


def look(here: Surroundings) -> Iterator[Result]:
    """Send an empty request to the endpoint of each signal that is exported by OTLP."""
    if is_disabled() or config_file() is not None:
        return  # `providers` reports it
    found = False
    for signal in SIGNALS:
        try:
            names = span_exporters(here.settings) if signal == "TRACES" else chosen(signal)
            for name in filter(is_otlp, names):
                found = True
                yield from _probe(signal, name, here)
        except ConfigError as error:
            yield Result(
                id=f"otlp.{signal.lower()}",
                title=f"exporter of {signal.lower()}",
                status="fail",
                seen=str(error),
                effect="otel_realtime.configure() raises ConfigError, and sets nothing up",
                fix="correct that variable",
            )
            found = True
    if not found:
        yield Result(
            id="otlp.traces",
            title="OTLP",
            status="info",
            seen="no endpoint is named, and OTEL_TRACES_EXPORTER does not ask for otlp",
            effect="otel_realtime.configure() exports nothing by OTLP",
        )


def _probe(signal: str, name: str, here: Surroundings) -> Iterator[Result]:
    with listening() as heard:
        exporter = make_exporter(signal, name)
    for text in heard:
        yield Result(
            id=f"otlp.{signal.lower()}.variables",
            title=f"exporter of {signal.lower()}",
            status="warn",
            seen=text,
            fix="correct the variable OTEL_EXPORTER_OTLP_* that it speaks of",
        )
    try:
        # Private, but the same in all versions so far: the address as the SDK has parsed it.
        address = str(getattr(exporter, "_endpoint", "") or endpoint(signal) or "")
        if name == _GRPC:
            yield _grpc(signal, address, exporter, here)
        else:
            yield from _http(signal, address, here)
            yield from _two_authorities(signal, name)
    finally:
        exporter.shutdown()


# -- HTTP ------------------------------------------------------------------------------------------


def _http(signal: str, url: str, here: Surroundings) -> Iterator[Result]:
    ca = _variable(signal, "CERTIFICATE", here.env)
    key, cert = (
        here.env.get(_variable(signal, f"CLIENT_{part}", here.env), "").strip()
        for part in ("KEY", "CERTIFICATE")
    )
    reply = send(
        "POST",
        url,
        {**headers_of(signal, here.env), "Content-Type": "application/x-protobuf"},
        timeout_s=here.timeout_s / 2,
        body=b"",
        ca=ca,
        verify=here.env.get(ca, "").strip() or None,
        cert=(cert, key) if cert and key else cert or None,
    )
    yield _judged(signal, url, reply)
    yield from skew(f"clock.otlp.{signal.lower()}", "the OTLP endpoint", reply)


def _two_authorities(signal: str, name: str) -> Iterator[Result]:
    # Since 1.45 the exporter sends through this package, whose session prefers the other file.
    if is_overruled(signal, name) and find_spec("opentelemetry.exporter.http") is not None:
        yield Result(
            id=f"otlp.{signal.lower()}.authorities",
            title="trusted authorities",
            status="info",
            seen="REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE is set beside OTEL_EXPORTER_OTLP_CERTIFICATE",
            effect=(
                "an exporter of otel_realtime.configure() trusts the file of OTEL_EXPORTER_OTLP_CERTIFICATE,"
                " one of opentelemetry-instrument that of the former"
            ),
        )


def _judged(signal: str, url: str, reply: Reply) -> Result:
    def result(status: Status, seen: str, fix: str) -> Result:
        lost = _LOST[signal] if status != "ok" else ""
        return _result(signal, "http/protobuf", status, f"{url}: {seen}", lost, fix)

    if reply.status is None:
        fix = reply.fix
        if reply.problem in (CLIENT_UNKNOWN, BROKEN_OFF):
            fix = (
                _CLIENT
                if reply.problem == CLIENT_UNKNOWN
                else f"it may want to know the client: {_CLIENT}"
            )
        if urlsplit(url).port == _PORTS["grpc"] and "closed" in reply.problem + reply.fix:
            fix = f"port {_PORTS['grpc']} is that of gRPC: set {_PROTOCOL}=grpc, or use port {_PORTS['http']}"
        return result("fail", str(reply), fix)
    if reply.redirect:
        fix = "name the address it leads to: exporters follow no redirect, and take it for success"
        return result("fail", str(reply), fix)
    if reply.status in (401, 403):
        return result("fail", f"refused: {reply}", "check OTEL_EXPORTER_OTLP_HEADERS")
    if reply.status == 404:
        fix = "OTEL_EXPORTER_OTLP_ENDPOINT is a base, to which /v1/traces is added; _TRACES_ENDPOINT is whole"
        return result("fail", str(reply), fix)
    if reply.is_page:
        return result("fail", f"answers with a web page: {reply}", "that is no OTLP endpoint")
    if reply.status // 100 == 2:
        return result("ok", f"takes requests{reply.through}", "")
    if _WANTS_TLS in reply.body:
        return result("fail", "the server speaks TLS on this port", "use https:// in the endpoint")
    if reply.status in (400, 415):
        return _result(
            signal,
            "http/protobuf",
            "warn",
            f"{url}: answers an empty request with {reply}",
            "it may take spans all the same",
            "check that it takes OTLP as http/protobuf on this port",
        )
    return result("fail", str(reply), "look at the Collector's own log")


def headers_of(signal: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that an exporter sends, parsed by the SDK's own function."""
    from opentelemetry.util.re import parse_env_headers

    text = env.get(_variable(signal, "HEADERS", env), "")
    return dict(parse_env_headers(text, liberal=True))


def _variable(signal: str, what: str, env: Mapping[str, str]) -> str:
    """Return the variable that applies to a signal: its own if that is set, otherwise the general one."""
    own = f"OTEL_EXPORTER_OTLP_{signal}_{what}"
    return own if env.get(own, "").strip() else f"OTEL_EXPORTER_OTLP_{what}"


# -- gRPC ------------------------------------------------------------------------------------------

_RESET: Final = "the server reset the connection"
_CLOSED: Final = "the server closed the connection"
#: How a server reacts that requires TLS or a client certificate.
_BROKEN_OFF: Final = frozenset({_RESET, _CLOSED})
#: Word in gRPC's error details -> the problem in plain words, and what to do. The first match counts.
_GRPC_REASONS: Final[tuple[tuple[str, str, str], ...]] = (
    ("connection refused", "connection refused: nothing listens there", "start the Collector, or correct the address"),
    ("dns resolution failed", "there is no host of that name", "check the address"),
    ("name resolution", "there is no host of that name", "check the address"),
    ("http1.x server", "the server speaks HTTP, not gRPC, on this port", f"set {_PROTOCOL}=http/protobuf, or use port {_PORTS['grpc']}"),
    ("http/1", "the server speaks HTTP, not gRPC, on this port", f"set {_PROTOCOL}=http/protobuf, or use port {_PORTS['grpc']}"),
    ("settings frame", "the server does not speak gRPC on this port", f"set {_PROTOCOL}=http/protobuf, or use port {_PORTS['grpc']}"),
    ("wrong_version_number", "the server speaks no TLS on this port", "use http:// as scheme, or OTEL_EXPORTER_OTLP_INSECURE=true"),
    ("tsi_data_corrupted", "the server broke off TLS: it takes no client without a certificate that it knows", _CLIENT),
    ("certificate", "the server's certificate is not trusted here", "name its authority in OTEL_EXPORTER_OTLP_CERTIFICATE"),
    ("handshake", "the TLS handshake failed", "check http:// or https:// in the endpoint, and OTEL_EXPORTER_OTLP_CERTIFICATE"),
    ("ssl", "the TLS handshake failed", "check http:// or https:// in the endpoint, and OTEL_EXPORTER_OTLP_CERTIFICATE"),
    ("http proxy", "the proxy refuses", "check https_proxy, no_proxy and no_grpc_proxy"),
    ("reset", _RESET, "check that it speaks gRPC on this port, and whether with TLS"),
    ("closed", _CLOSED, "check that it speaks gRPC on this port, and whether with TLS"),
)  # fmt: skip
#: gRPC status -> what to do; other statuses are explained by ``_GRPC_REASONS``.
_GRPC_STATUSES: Final = {
    "UNAUTHENTICATED": "check OTEL_EXPORTER_OTLP_HEADERS",
    "PERMISSION_DENIED": "check OTEL_EXPORTER_OTLP_HEADERS",
    "UNIMPLEMENTED": f"that server takes no OTLP by gRPC: check the port and {_PROTOCOL}",
    "DEADLINE_EXCEEDED": "check the address, the firewall, the proxy",
}


def _grpc(signal: str, target: str, exporter: Any, here: Surroundings) -> Result:
    import grpc

    secure = not getattr(exporter, "_insecure", True)
    shown = f"{target} ({'TLS' if secure else 'plain'})"
    timeout_s = here.timeout_s / 2
    proxy = _grpc_proxy(target)
    try:
        exporter._client.Export(_empty(signal), metadata=exporter._headers, timeout=timeout_s)
    except grpc.RpcError as error:
        status = getattr(error, "code", lambda: None)()
        name = getattr(status, "name", "UNKNOWN")
        seen, fix = _explain_grpc(
            name, str(getattr(error, "details", lambda: "")() or ""), timeout_s
        )
        if secure and seen in _BROKEN_OFF:
            fix += f"; {_MAYBE_CLIENT}"
        if proxy:
            seen += f", through the proxy {proxy}"
        return _result(signal, "grpc", "fail", f"{shown}: {seen}", _LOST[signal], fix)
    through = f" through the proxy {proxy}" if proxy else ""
    return _result(signal, "grpc", "ok", f"{shown}: takes requests{through}", "", "")


def _explain_grpc(status: str, details: str, timeout_s: float) -> tuple[str, str]:
    if status == "DEADLINE_EXCEEDED":
        return f"no answer within {timeout_s:.3g} s", _GRPC_STATUSES[status]
    if status in _GRPC_STATUSES:
        said = " ".join(without_secrets(details).split())[:120]
        return f"refused: {status}" + (f", {said}" if said else ""), _GRPC_STATUSES[status]
    lowered = details.lower()
    for word, seen, fix in _GRPC_REASONS:
        if word in lowered:
            return seen, fix
    return f"{status}: {' '.join(details.split())[:120]}", "check the address"


def _empty(signal: str) -> Any:
    if signal == "TRACES":
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        return ExportTraceServiceRequest()
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    return ExportMetricsServiceRequest()


def _grpc_proxy(target: str) -> str:
    """Return the proxy that gRPC uses: https://grpc.github.io/grpc/core/md_doc_environment_variables.html"""
    host = target.rpartition(":")[0].strip("[]")
    for name in ("no_grpc_proxy", "no_proxy"):
        left_out = [one.strip() for one in os.environ.get(name, "").split(",")]
        if any(one and host.endswith(one) for one in left_out):
            return ""
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        if os.environ.get(name):
            return os.environ[name]
    return ""


def _result(signal: str, protocol: str, status: Status, seen: str, effect: str, fix: str) -> Result:
    return Result(
        id=f"otlp.{signal.lower()}",
        title=f"OTLP, {signal.lower()} by {protocol}",
        status=status,
        seen=seen,
        effect=effect,
        fix=fix,
    )
