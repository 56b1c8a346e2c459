"""OpenTelemetry's variables mean to ``configure()`` what they mean to ``opentelemetry-distro``."""

from __future__ import annotations

import datetime
import ipaddress
import json
import logging
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otel_realtime
from otel_realtime import ConfigError
from otel_realtime.delivery.otlp import chosen, make_exporter
from otel_realtime.setup import providers
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import ROOT, clean_environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
HTTP = {ENDPOINT: "http://127.0.0.1:9", PROTOCOL: "http/protobuf"}
GRPC = {ENDPOINT: "http://127.0.0.1:9", PROTOCOL: "grpc"}
OTLP = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp"}
NONE = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}

FILE = """
file_format: "1.0"
resource:
  attributes:
    - {name: service.name, value: by-file}
tracer_provider:
  processors:
    - batch:
        exporter:
          otlp_http:
            endpoint: http://127.0.0.1:9/v1/traces
            headers: [{name: api-key, value: secret}]
    - simple:
        exporter:
          console: {}
meter_provider:
  readers:
    - periodic:
        exporter:
          otlp_http:
            endpoint: http://127.0.0.1:9/v1/metrics
"""

#: Environments in which both must do the same.
SAME: dict[str, dict[str, str]] = {
    "nothing": NONE,
    "the console": {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "console"},
    "two at once": {**HTTP, **OTLP, "OTEL_TRACES_EXPORTER": "otlp,console"},
    "OTLP by HTTP": {**HTTP, **OTLP},
    "OTLP by gRPC": {**GRPC, **OTLP},
    "OTLP without an endpoint": {**OTLP, PROTOCOL: "http/protobuf"},
    "an exporter's own name": {
        **GRPC,
        "OTEL_TRACES_EXPORTER": "otlp_proto_http",
        "OTEL_METRICS_EXPORTER": "none",
    },
    "a protocol for each signal": {
        **OTLP,
        ENDPOINT: "http://127.0.0.1:9",
        PROTOCOL: "grpc",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    },
    "an endpoint for each signal": {
        **HTTP,
        **OTLP,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:8/traces",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:7/metrics",
    },
    "headers": {
        **HTTP,
        **OTLP,
        "OTEL_EXPORTER_OTLP_HEADERS": "Api-Key=a%20b%3Dc%2C,x-tenant=acme,broken",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "x-only=metrics",
    },
    "headers by gRPC": {**GRPC, **OTLP, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b"},
    "a timeout and a compression": {
        **HTTP,
        **OTLP,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "4",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    },
    "certificates": {
        **HTTP,
        **OTLP,
        ENDPOINT: "https://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/tmp/ca.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/tmp/key.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/tmp/cert.pem",
    },
    "a resource": {
        **NONE,
        "OTEL_SERVICE_NAME": "voice",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,deployment.environment=prod%20eu",
    },
    "a sampler": {**NONE, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
    "nothing sampled": {**NONE, "OTEL_TRACES_SAMPLER": "always_off"},
    "an unknown sampler": {**NONE, "OTEL_TRACES_SAMPLER": "sometimes"},
    "an id generator": {**NONE, "OTEL_PYTHON_ID_GENERATOR": "random"},
    "a file": {**NONE, "OTEL_CONFIG_FILE": "otel.yaml"},
}
#: Environments that both must refuse.
REFUSED: dict[str, dict[str, str]] = {
    "an unknown protocol": {**OTLP, PROTOCOL: "carrier-pigeon"},
    "an unknown exporter": {**NONE, "OTEL_TRACES_EXPORTER": "zipkn"},
    "an unknown exporter of metrics": {**NONE, "OTEL_METRICS_EXPORTER": "prometheos"},
    "an unknown id generator": {**NONE, "OTEL_PYTHON_ID_GENERATOR": "dice"},
    "a file that is not there": {**NONE, "OTEL_CONFIG_FILE": "nowhere.yaml"},
    "a file that is none": {**NONE, "OTEL_CONFIG_FILE": "broken.yaml"},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """What came of each environment, with our ``configure()`` and with the distro."""
    folder = tmp_path_factory.mktemp("configured")
    (folder / "otel.yaml").write_text(FILE)
    (folder / "broken.yaml").write_text("tracer_provider: 7\n")
    environments = SAME | REFUSED
    found = [_ask(who, list(environments.values()), folder) for who in ("ours", "distro")]
    return dict(zip(environments, zip(*found, strict=True), strict=True))


def _ask(who: str, environments: list[Mapping[str, str]], folder: Path) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.configured", who],
        input=json.dumps(environments),
        env=clean_environment(PYTHONPATH=str(ROOT)),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answers: list[Any] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("name", SAME)
def test_the_same_as_with_the_distro(results: dict[str, tuple[Any, Any]], name: str) -> None:
    """Exporters, readers, endpoints, headers, certificates, sampler, resource."""
    ours, distro = results[name]
    assert "refused" not in distro
    assert distro == ours


@pytest.mark.parametrize("name", REFUSED)
def test_refused_as_with_the_distro(results: dict[str, tuple[Any, Any]], name: str) -> None:
    """In one line that names the variable and its value."""
    ours, distro = results[name]
    assert {"refused"} == distro.keys()
    given = {key: value for key, value in REFUSED[name].items() if key not in OTLP | NONE} or {
        key: value for key, value in REFUSED[name].items() if value != "none"
    }
    ((variable, value),) = given.items()
    assert ours["refused"].startswith(f"{variable}={value!r}")
    assert "\n" not in ours["refused"]


def test_the_environments_are_told_apart(results: dict[str, tuple[Any, Any]]) -> None:
    """What is compared is there to be compared."""
    ours = {name: pair[0] for name, pair in results.items()}
    assert "TraceIdRatioBased{0.25}" == ours["a sampler"]["sampler"]
    assert not ours["nothing sampled"]["records"]
    assert "voice" == ours["a resource"]["resource"]["service.name"]
    assert "prod eu" == ours["a resource"]["resource"]["deployment.environment"]
    [(_, spans)] = ours["headers"]["spans"]
    assert "('api-key', 'a b=c,')" in spans["headers"]
    [(_, spans)] = ours["certificates"]["spans"]
    assert "/tmp/ca.pem" == spans["verify"]
    assert "('/tmp/cert.pem', '/tmp/key.pem')" == spans["cert"]
    [(_, spans)] = ours["a timeout and a compression"]["spans"]
    assert 4 == float(spans["_timeout"])
    assert "gzip" in spans["_compression"].lower()
    assert ["BatchSpanProcessor", "SimpleSpanProcessor"] == [
        kind for kind, _ in ours["a file"]["spans"]
    ]
    assert "by-file" == ours["a file"]["resource"]["service.name"]


# --- what is ours ---------------------------------------------------------------------------------


Certificates = tuple[ssl.SSLContext, dict[str, str]]


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """A server's context that asks for a certificate, and the variables of a client that has one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    paths = {kind: tmp_path / f"{kind}.pem" for kind in ("certificate", "key")}
    paths["certificate"].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths["key"].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paths["certificate"], paths["key"])
    context.load_verify_locations(paths["certificate"])
    context.verify_mode = ssl.CERT_REQUIRED
    return context, {
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(paths["certificate"]),
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(paths["certificate"]),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(paths["key"]),
    }


def test_spans_reach_a_backend_that_wants_certificates(
    process: pytest.MonkeyPatch, certificates: Certificates
) -> None:
    """It proves who it is, and asks who we are; the header arrives decoded.

    In `requests` the variables of its own win over the exporter's: not in an exporter of ours.
    """
    context, variables = certificates
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        process.setenv(name, certifi.where())
    with OtlpRecorder(tls=context) as backend:
        for name, value in variables.items():
            process.setenv(name, value)
        process.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{backend.endpoint}/v1/traces")
        process.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=a%20key")
        (name,) = chosen("TRACES")
        provider = providers.tracer_provider([make_exporter("TRACES", name)])
        provider.get_tracer("app").start_span("hello").end()
        assert provider.force_flush()
        provider.shutdown()
        assert ["hello"] == [span.name for span in backend.spans()]
        assert "a key" == backend.requests[0].headers["x-api-key"]


@pytest.mark.parametrize(
    "environment",
    [
        {ENDPOINT: "http://127.0.0.1:9", PROTOCOL: "carrier-pigeon"},
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "nowhere"},
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_PYTHON_ID_GENERATOR": "dice"},
        {"OTEL_CONFIG_FILE": "nowhere.yaml"},
    ],
)
def test_what_is_refused_leaves_nothing_set(
    process: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """No half of a set-up stays: no provider, and no thread of a reader."""
    for name, value in environment.items():
        process.setenv(name, value)
    with pytest.raises(ConfigError):
        otel_realtime.configure()
    assert not isinstance(trace.get_tracer_provider(), TracerProvider)


@pytest.mark.parametrize("variable", ["OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"])
def test_a_file_that_nothing_can_read(process: pytest.MonkeyPatch, variable: str) -> None:
    """The line says what to install."""
    process.setenv(variable, "otel.yaml")
    process.setitem(sys.modules, "opentelemetry.configuration", None)
    assert (variable, "otel.yaml") == providers.config_file()
    with pytest.raises(ConfigError, match="pip install opentelemetry-configuration"):
        otel_realtime.configure()


def entry_points_of(**loaded: object) -> Callable[..., tuple[Any, ...]]:
    """Entry points of other packages: what each of them loads."""

    class Found(EntryPoint):
        def load(self) -> Any:
            return loaded[self.name]

    def entry_points(*, group: str, name: str | None = None) -> tuple[Any, ...]:
        names = [one for one in loaded if name in (None, one)]
        return tuple(Found(one, "package:thing", group) for one in names)

    return entry_points


def test_a_sampler_of_another_package(process: pytest.MonkeyPatch) -> None:
    """Its factory is given the argument."""
    given: list[str | None] = []

    def factory(argument: str | None) -> Any:
        given.append(argument)
        return ALWAYS_OFF

    process.setattr(providers, "entry_points", entry_points_of(remote=factory))
    process.setenv("OTEL_TRACES_SAMPLER", "remote")
    process.setenv("OTEL_TRACES_SAMPLER_ARG", "http://sampler")
    assert providers.tracer_provider([]).sampler is ALWAYS_OFF
    assert ["http://sampler"] == given


def test_a_sampler_that_cannot_be_made(
    process: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and everything is sampled, as the SDK does it."""

    def factory(argument: str | None) -> Any:
        raise ValueError("no such host")

    process.setattr(providers, "entry_points", entry_points_of(remote=factory))
    process.setenv("OTEL_TRACES_SAMPLER", "remote")
    with caplog.at_level(logging.WARNING, "otel_realtime"):
        provider = providers.tracer_provider([])
    assert provider.get_tracer("app").start_span("span").is_recording()
    assert [text for text in caplog.messages if "no such host" in text]


class Ids(RandomIdGenerator):
    """Of another package."""


def test_an_id_generator_of_another_package(process: pytest.MonkeyPatch) -> None:
    """As AWS's, which X-Ray needs."""
    process.setattr(providers, "entry_points", entry_points_of(xray=Ids))
    process.setenv("OTEL_PYTHON_ID_GENERATOR", "XRay")
    assert isinstance(providers.tracer_provider([]).id_generator, Ids)
