"""What the tests of ``collector/security`` share: certificates, tokens, and Collectors that ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.binaries import COLLECTOR
from tests.support.certificates import Authority, Pair
from tests.support.oidc_issuer import Issuer
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import Collector
from tests.support.programs import program

TLS: Final = ("security/tls.yaml",)
MTLS: Final = (*TLS, "security/mtls.yaml")
GOOD, NEXT, WRONG = "good-token-of-the-app", "next-token-of-the-app", "wrong-token-of-someone"


@dataclass(frozen=True)
class Guarded:
    """A Collector that does not let everybody in."""

    collector: Collector
    recorder: OtlpRecorder

    def endpoint(self, protocol: str, scheme: str = "https") -> dict[str, str]:
        """The variables that name it."""
        http = self.collector.http.removeprefix("http://")
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"{scheme}://{self.collector.grpc if protocol == 'grpc' else http}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }


@dataclass(frozen=True)
class Desk:
    """Certificates, tokens, and the folder where they are."""

    folder: Path
    ours: Authority
    other: Authority
    server: Pair
    client: Pair
    stranger: Pair
    tokens: Path

    def trusting(self, who: Pair | None = None) -> dict[str, str]:
        """The variables of an app that trusts the Collector, and proves who it is."""
        variables = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(self.ours.file)}
        if who is not None:
            variables["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"] = str(who.certificate)
            variables["OTEL_EXPORTER_OTLP_CLIENT_KEY"] = str(who.key)
        return variables

    def tls(self) -> dict[str, str]:
        """The Collector's variables."""
        return {
            "OTELCOL_TLS_CERT_FILE": str(self.server.certificate),
            "OTELCOL_TLS_KEY_FILE": str(self.server.key),
            "OTELCOL_TLS_CLIENT_CA_FILE": str(self.ours.file),
        }


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """One for all tests."""
    folder = tmp_path_factory.mktemp("desk")
    ours, other = Authority(folder / "ours"), Authority(folder / "other", "another authority")
    tokens = folder / "tokens"
    tokens.write_text(f"{GOOD} # voice\n{NEXT} # voice, from tomorrow on\n")
    server = ours.issue("server", "127.0.0.1", "localhost", "otelcol")
    return Desk(folder, ours, other, server, ours.issue("app"), other.issue("app"), tokens)


def guarded(desk: Desk, name: str, *overlays: str, **variables: str) -> Iterator[Guarded]:
    """A Collector with overlays, and a LangSmith behind it."""
    with OtlpRecorder() as recorder:
        configs = ["config.yaml", "config.metrics.yaml", *overlays]
        environment = {
            "LANGSMITH_API_KEY": "lsv2_pt_x",
            "LANGSMITH_OTLP_ENDPOINT": recorder.endpoint,
        }
        with Collector(
            program(COLLECTOR),
            desk.folder / name,
            configs,
            **environment,
            **desk.tls(),
            **variables,
        ) as collector:
            yield Guarded(collector, recorder)


@pytest.fixture(scope="module")
def issuer(desk: Desk) -> Iterator[Issuer]:
    """The identity provider."""
    with Issuer(desk.ours.issue("issuer", "127.0.0.1")) as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    """The variable that sends a token."""
    return {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{token}"}


def came_through(at: Guarded, trace_id: str) -> bool:
    """Whether a trace reached what is behind the Collector."""
    return any(span.trace_id == trace_id for span in at.recorder.spans())


def says(collector: Collector, text: str) -> bool:
    """Whether the Collector's log has a text."""
    return text in collector.process.text()
