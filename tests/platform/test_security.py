"""Who gets through a Collector with the overlays of ``collector/security``, and what the others are told."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from otel_realtime.delivery.otlp import chosen, make_exporter
from otel_realtime.doctor.otlp import look
from otel_realtime.setup.providers import tracer_provider
from tests.e2e.binaries import COLLECTOR
from tests.platform.desk import (
    GOOD,
    MTLS,
    NEXT,
    TLS,
    WRONG,
    Desk,
    Guarded,
    bearer,
    came_through,
    desk,
    guarded,
    issuer,
    says,
)
from tests.support.doctor import by_id, here
from tests.support.handmade import conversation, send_http
from tests.support.oidc_issuer import Issuer
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import ROOT, Collector, clean_environment
from tests.support.programs import program
from tests.support.waiting import wait_for

__all__ = ["desk", "issuer"]
PROTOCOLS: Final = ("http/protobuf", "grpc")


@pytest.fixture(scope="module")
def by_certificate(desk: Desk) -> Iterator[Guarded]:
    """It knows its apps by their certificates."""
    yield from guarded(desk, "mtls", *MTLS)


@pytest.fixture(scope="module")
def by_token(desk: Desk) -> Iterator[Guarded]:
    """It knows them by tokens of a file."""
    variables = {"OTELCOL_BEARER_FILE": str(desk.tokens)}
    yield from guarded(desk, "bearer", *TLS, "security/bearer.yaml", **variables)


@pytest.fixture(scope="module")
def by_oidc(desk: Desk, issuer: Issuer) -> Iterator[Guarded]:
    """It knows them by tokens of the identity provider, and by certificates as well."""
    variables = {"OTELCOL_OIDC_ISSUER": issuer.url, "OTELCOL_OIDC_CA_FILE": str(desk.ours.file)}
    yield from guarded(desk, "oidc", *MTLS, "security/oidc.yaml", **variables)


def run_app(process: pytest.MonkeyPatch, variables: Mapping[str, str]) -> str:
    """Trace something as an app that only sets variables; returns the trace id."""
    process.setenv("OTEL_METRICS_EXPORTER", "none")
    for one in [one for one in logging.root.manager.loggerDict if one.startswith("opentelemetry")]:
        process.setattr(logging.getLogger(one), "filters", [])  # they let the same line pass once
    for name, value in variables.items():
        process.setenv(name, value)
    (exporter,) = chosen("TRACES")
    provider = tracer_provider([make_exporter("TRACES", exporter)])  # as configure() does
    attributes = {"otel_realtime.langsmith.leg": "collector"}
    span = provider.get_tracer("app").start_span("hello", attributes=attributes)
    span.end()
    provider.force_flush()
    provider.shutdown()
    return format(span.get_span_context().trace_id, "032x")


def judged(process: pytest.MonkeyPatch) -> tuple[str, str, str]:
    """What the doctor says of the same variables: status, what it saw, what to do."""
    found = by_id(look(here(30.0)))["otlp.traces"]
    return found.status, found.seen, found.fix


def assert_let_in(process: pytest.MonkeyPatch, at: Guarded, variables: Mapping[str, str]) -> None:
    """The app's span comes through, and the doctor sees nothing wrong."""
    trace_id = run_app(process, variables)
    wait_for(lambda: came_through(at, trace_id), "span behind the Collector")
    assert "ok" == judged(process)[0]


def assert_kept_out(
    process: pytest.MonkeyPatch, at: Guarded, variables: Mapping[str, str], seen: str, fix: str
) -> None:
    """The app's span does not come through; the doctor says why, and which variable to look at."""
    accepted = "otelcol_receiver_accepted_spans"
    before = at.collector.own_metric(accepted)
    trace_id = run_app(process, variables)
    status, really_seen, really_fix = judged(process)
    assert ("fail", True, True) == (status, seen in really_seen, fix in really_fix), (
        really_seen,
        really_fix,
    )
    assert before == at.collector.own_metric(accepted)
    assert not came_through(at, trace_id)


def logged(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    """Whether the app's log has a line with this text."""
    return any(text in record.getMessage() for record in caplog.records)


#: Where no connection comes to be the exporter tries again until this time is over.
SHORT: Final = {"OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
CLIENT_VARIABLE: Final = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"


@pytest.mark.collector
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_app_with_a_certificate_is_let_in(
    process: pytest.MonkeyPatch, by_certificate: Guarded, desk: Desk, protocol: str
) -> None:
    """By three variables; that machine's own bundle of authorities does not get in the way."""
    process.setenv("REQUESTS_CA_BUNDLE", str(desk.other.file))
    variables = by_certificate.endpoint(protocol) | desk.trusting(desk.client)
    assert_let_in(process, by_certificate, variables)


@pytest.mark.collector
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("who", ["nobody", "a stranger"])
def test_an_app_without_one_is_kept_out(
    process: pytest.MonkeyPatch, by_certificate: Guarded, desk: Desk, protocol: str, who: str
) -> None:
    """One of another authority is none."""
    own = desk.stranger if who == "a stranger" else None
    variables = by_certificate.endpoint(protocol) | desk.trusting(own) | SHORT
    assert_kept_out(process, by_certificate, variables, "TLS", CLIENT_VARIABLE)


@pytest.mark.collector
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_app_sends_nothing_to_a_collector_that_it_does_not_know(
    process: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    by_certificate: Guarded,
    desk: Desk,
    protocol: str,
) -> None:
    """The log of the exporter says why."""
    trusting = desk.trusting(desk.client)
    trusting["OTEL_EXPORTER_OTLP_CERTIFICATE"] = str(desk.other.file)
    trusting["OTEL_EXPORTER_OTLP_TIMEOUT"] = "5"  # it says why when it tries again
    variables = by_certificate.endpoint(protocol) | trusting
    assert_kept_out(
        process, by_certificate, variables, "certificate", "OTEL_EXPORTER_OTLP_CERTIFICATE"
    )
    assert logged(caplog, "CERTIFICATE_VERIFY_FAILED")


@pytest.mark.collector
@pytest.mark.parametrize(
    ("protocol", "seen", "fix"),
    [
        ("http/protobuf", "the server speaks TLS on this port", "use https://"),
        ("grpc", "the server closed the connection", "whether with TLS"),
    ],
)
def test_an_app_without_tls_is_kept_out(
    process: pytest.MonkeyPatch, by_certificate: Guarded, protocol: str, seen: str, fix: str
) -> None:
    """It wrote http:// for https://."""
    variables = by_certificate.endpoint(protocol, "http") | SHORT
    assert_kept_out(process, by_certificate, variables, seen, fix)


@pytest.mark.collector
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("token", [GOOD, NEXT])
def test_an_app_with_a_token_is_let_in(
    process: pytest.MonkeyPatch, by_token: Guarded, desk: Desk, protocol: str, token: str
) -> None:
    """With any of the file: an old one and its successor."""
    variables = by_token.endpoint(protocol) | desk.trusting() | bearer(token)
    assert_let_in(process, by_token, variables)


#: What an exporter logs of a request that is refused.
REFUSED: Final = {"http/protobuf": "code: 401, reason: Unauthorized", "grpc": "UNAUTHENTICATED"}
SEEN: Final = {"http/protobuf": "refused: HTTP 401", "grpc": "refused: UNAUTHENTICATED"}


@pytest.mark.collector
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("token", [WRONG, ""])
def test_an_app_with_a_wrong_token_is_kept_out(
    process: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    by_token: Guarded,
    desk: Desk,
    protocol: str,
    token: str,
) -> None:
    """Its log says so, and has no token in it; nor has the Collector's."""
    headers = bearer(token) if token else {}
    variables = by_token.endpoint(protocol) | desk.trusting() | headers
    assert_kept_out(
        process, by_token, variables, SEEN[protocol], "check OTEL_EXPORTER_OTLP_HEADERS"
    )
    assert logged(caplog, REFUSED[protocol])
    assert WRONG not in caplog.text
    assert WRONG not in by_token.collector.process.text()


@pytest.mark.collector
def test_a_token_is_taken_out_while_the_collector_runs(
    process: pytest.MonkeyPatch, desk: Desk, tmp_path: Path
) -> None:
    """The file is read again, unless it is empty: then the last ones go on, as bearer.yaml says."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{GOOD}\n")
    for at in guarded(desk, "rotated", "security/bearer.yaml", OTELCOL_BEARER_FILE=str(tokens)):
        send = partial(sent_with, process, at.collector)
        assert (True, False) == (send(GOOD), send(NEXT))
        tokens.write_text(f"{NEXT}\n")
        wait_for(partial(send, NEXT), "the new token to be known")
        assert not send(GOOD)
        tokens.write_text("")
        wait_for(partial(says, at.collector, "is empty"), "a line in the log")
        assert send(NEXT)


def sent_with(process: pytest.MonkeyPatch, collector: Collector, token: str) -> bool:
    """Whether the Collector takes something that comes with a token."""
    process.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{token}")
    return send_http(collector.http, conversation())


@pytest.mark.collector
def test_a_collector_without_its_tokens_lets_nobody_in(
    process: pytest.MonkeyPatch, desk: Desk
) -> None:
    """It says so in its log."""
    for at in guarded(desk, "missing", "security/bearer.yaml", OTELCOL_BEARER_FILE="/none/tokens"):
        for headers in ({}, bearer(""), bearer(GOOD)):
            process.delenv("OTEL_EXPORTER_OTLP_HEADERS", raising=False)
            for name, value in headers.items():
                process.setenv(name, value)
            assert not send_http(at.collector.http, conversation())
        assert "failed to start token resolver" in at.collector.process.text()


@pytest.mark.collector
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_app_with_a_token_of_the_issuer_is_let_in(
    process: pytest.MonkeyPatch, by_oidc: Guarded, desk: Desk, issuer: Issuer, protocol: str
) -> None:
    """Certificate and token together."""
    variables = by_oidc.endpoint(protocol) | desk.trusting(desk.client) | bearer(issuer.token())
    assert_let_in(process, by_oidc, variables)


@pytest.mark.collector
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("what", ["expired", "of another audience", "signed by another", "none"])
def test_an_app_with_another_token_is_kept_out(
    process: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    by_oidc: Guarded,
    desk: Desk,
    issuer: Issuer,
    protocol: str,
    what: str,
) -> None:
    """The log says so, without the token."""
    stranger = Issuer(desk.server)
    token = {
        "expired": lambda: issuer.token(expires_in_s=-60),
        "of another audience": lambda: issuer.token(aud="billing"),
        "signed by another": lambda: stranger.token(iss=issuer.url),
        "none": lambda: "none",
    }[what]()
    stranger.close()
    variables = by_oidc.endpoint(protocol) | desk.trusting(desk.client) | bearer(token)
    assert_kept_out(process, by_oidc, variables, SEEN[protocol], "check OTEL_EXPORTER_OTLP_HEADERS")
    assert logged(caplog, REFUSED[protocol])
    parts = [part for part in token.split(".") if len(part) > 20]
    both = caplog.text + by_oidc.collector.process.text()
    assert [] == [part for part in parts if part in both]


@pytest.mark.collector
def test_tokens_of_both_kinds_one_by_each_protocol(
    process: pytest.MonkeyPatch, desk: Desk, issuer: Issuer
) -> None:
    """As the page says: both overlays, and what differs from the second one."""
    more = [
        "yaml:service::extensions: [health_check, file_storage/queue, bearertokenauth, oidc]",
        "yaml:receivers::otlp::protocols::http::auth::authenticator: bearertokenauth",
    ]
    with OtlpRecorder() as recorder:
        collector = Collector(
            program(COLLECTOR),
            desk.folder / "two",
            ["config.yaml", *TLS, "security/bearer.yaml", "security/oidc.yaml"],
            LANGSMITH_API_KEY="lsv2_pt_x",
            LANGSMITH_OTLP_ENDPOINT=recorder.endpoint,
            OTELCOL_BEARER_FILE=str(desk.tokens),
            OTELCOL_OIDC_ISSUER=issuer.url,
            OTELCOL_OIDC_CA_FILE=str(desk.ours.file),
            **desk.tls(),
        )
        collector.process._command += [f"--config={one}" for one in more]
        with collector:
            at = Guarded(collector, recorder)
            for protocol, token in (("http/protobuf", GOOD), ("grpc", issuer.token())):
                variables = at.endpoint(protocol) | desk.trusting() | bearer(token)
                for name, value in variables.items():
                    process.setenv(name, value)
                assert "ok" == judged(process)[0]
            process.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{GOOD}")
            assert "fail" == judged(process)[0]


# --- from the command line ------------------------------------------------------------------------

APP: Final = """
import sys
from opentelemetry import trace
if "ours" in sys.argv:
    import otel_realtime
    otel_realtime.configure()
attributes = {"otel_realtime.langsmith.leg": "collector"}
span = trace.get_tracer("app").start_span("hello", attributes=attributes)
span.end()
print(format(span.get_span_context().trace_id, "032x"))
"""


@pytest.mark.collector
@pytest.mark.parametrize(
    ("command", "protocol"),
    [("configure()", "http/protobuf"), ("opentelemetry-instrument", "grpc")],
)
def test_variables_are_all_that_a_process_needs(
    by_oidc: Guarded, desk: Desk, issuer: Issuer, tmp_path: Path, protocol: str, command: str
) -> None:
    """Certificate and token, as in a deployment; nothing is said."""
    app = tmp_path / "app.py"
    app.write_text(APP)
    tool = [str(Path(sys.executable).with_name("opentelemetry-instrument"))]
    begin = tool if command == "opentelemetry-instrument" else []
    environment = clean_environment(
        **by_oidc.endpoint(protocol),
        **desk.trusting(desk.client),
        **bearer(issuer.token()),
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        PYTHONPATH=str(ROOT),
    )
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they win over the tool's exporter
        environment.pop(name, None)
    done = subprocess.run(
        [*begin, sys.executable, str(app), *([] if begin else ["ours"])],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    wait_for(lambda: came_through(by_oidc, done.stdout.strip()), "the span behind the Collector")
    assert "" == done.stderr


PROVIDER: Final = """
import os
import requests

class Token(requests.auth.AuthBase):
    def __call__(self, request):
        with open(os.environ["TOKEN_FILE"]) as file:
            request.headers["Authorization"] = "Bearer " + file.read().strip()
        return request

def session():
    made = requests.Session()
    made.auth = Token()
    return made
"""


@pytest.mark.collector
def test_a_token_that_ends_sooner_than_the_process_comes_from_a_credential_provider(
    by_token: Guarded, desk: Desk, tmp_path: Path
) -> None:
    """The SDK's: an installed function that returns the session of the exporter."""
    (tmp_path / "voice_token.py").write_text(PROVIDER)
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "token").write_text(NEXT)
    info = tmp_path / "voice_token-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: voice-token\nVersion: 1\n")
    group = "opentelemetry_otlp_credential_provider"
    (info / "entry_points.txt").write_text(f"[{group}]\nvoice = voice_token:session\n")
    environment = clean_environment(
        **by_token.endpoint("http/protobuf"),
        **desk.trusting(),
        OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER="voice",
        OTEL_METRICS_EXPORTER="none",
        TOKEN_FILE=str(tmp_path / "token"),
        PYTHONPATH=f"{ROOT}:{tmp_path}",
    )
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # a session of another's is left alone
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "app.py"), "ours"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    wait_for(lambda: came_through(by_token, done.stdout.strip()), "the span behind the Collector")
