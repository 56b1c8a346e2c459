"""A request, and in plain words what became of it: by servers that do each of it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import requests

from otel_realtime.doctor.probe import BROKEN_OFF, CLIENT_UNKNOWN, explain, send
from otel_realtime.doctor.probe import Reply as Found
from tests.support.doctor import SECRET_KEY, Reply, Web, page
from tests.support.processes import free_ports


def ask(url: str, **given: object) -> Found:
    """Send a GET that has a second."""
    return send("GET", url, {"x-api-key": SECRET_KEY}, **{"timeout_s": 1.0, **given})  # type: ignore[arg-type]


def test_an_answer_is_told_with_its_status_and_its_text() -> None:
    """In one line, shortened."""
    with Web(lambda _: Reply(418, "short and\n stout " + "x" * 500)) as web:
        found = ask(web.url)
    assert f"HTTP 418, short and stout {'x' * 104}..." == str(found)


def test_json_is_read_and_a_page_is_known() -> None:
    """A page is not quoted."""
    with Web(lambda asked: page() if asked.path == "/page" else Reply(body='{"a": 1}')) as web:
        assert {"a": 1} == ask(web.url).json
        found = ask(web.url + "/page")
    assert (True, None, "HTTP 200, a web page") == (found.is_page, found.json, str(found))


def test_a_redirect_is_not_followed() -> None:
    """The key would go along."""
    with Web(lambda _: Reply(302, headers={"Location": "https://u:pass@other/?key=x"})) as web:
        found = ask(web.url)
        assert 1 == len(web.asked)
    assert "HTTP 302, redirect to https://[secret]@other/" == str(found)


def test_nothing_listens() -> None:
    """The most frequent one."""
    (port,) = free_ports(1)
    found = ask(f"http://127.0.0.1:{port}")
    assert "connection refused: nothing listens there" == found.problem
    assert "start it, or correct the address" == found.fix


def test_no_such_host() -> None:
    """``.invalid`` never is one: https://www.rfc-editor.org/rfc/rfc2606"""
    assert "there is no host of that name" == ask("http://langsmith.invalid").problem


def test_a_reset_is_told() -> None:
    """After the request."""
    with Web(lambda _: Reply(reset=True)) as web:
        assert ask(web.url).problem in (
            "the server reset the connection",
            "the server closed the connection",
        )


def test_a_slow_server_is_left_after_the_time() -> None:
    """Also one that accepts connections and never says anything."""
    with Web(lambda _: Reply(wait_s=3)) as web:
        assert "no answer within 0.3 s" == ask(web.url, timeout_s=0.3).problem
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert "no answer within 0.3 s" == ask(url, timeout_s=0.3).problem


def test_a_certificate_that_is_not_trusted(certificate: tuple[Path, Path]) -> None:
    """The fix names the variable for it; with it, it is trusted."""
    with Web(lambda _: Reply(), certificate) as web:
        found = ask(web.url, ca="OTEL_EXPORTER_OTLP_CERTIFICATE")
        assert "the TLS handshake failed: the certificate is self-signed" in found.problem
        assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in found.fix
        assert 200 == ask(web.url, verify=str(certificate[0])).status


def test_a_certificate_of_another_host(certificate: tuple[Path, Path]) -> None:
    """It is trusted, and for another name."""
    with Web(lambda _: Reply(), certificate) as web:
        found = ask(f"https://localhost:{web.port}", verify=str(certificate[0]))
    assert "the certificate is for another host name" in found.problem


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] alert certificate required", CLIENT_UNKNOWN),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca", CLIENT_UNKNOWN),
        ("[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] alert certificate expired", CLIENT_UNKNOWN),
        ("EOF occurred in violation of protocol (_ssl.c:2427)", BROKEN_OFF),
    ],
)
def test_a_server_that_wants_to_know_its_client(said: str, problem: str) -> None:
    """It is the client's certificate that is missing, not the authority of the server's."""
    seen, fix = explain(requests.exceptions.SSLError(said), 1.0, "OTEL_EXPORTER_OTLP_CERTIFICATE")
    assert problem == seen
    assert "client certificate" in fix
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" not in fix


def test_tls_to_a_server_without() -> None:
    """``https://`` on a plain port."""
    with Web(lambda _: Reply()) as web:
        found = ask(f"https://127.0.0.1:{web.port}")
    assert "the server speaks no TLS on this port" in found.problem
    assert "http://" in found.fix


def test_a_proxy_is_named_and_its_password_is_not(process: pytest.MonkeyPatch) -> None:
    """It is the environment's; the same when it does not answer."""
    process.delenv("NO_PROXY", raising=False)
    process.delenv("no_proxy", raising=False)
    with Web(lambda _: Reply(200)) as proxy:
        process.setenv("http_proxy", f"http://user:{SECRET_KEY}@127.0.0.1:{proxy.port}")
        found = ask("http://langsmith.invalid/info")
        assert "http://langsmith.invalid/info" == proxy.asked[0].path
        shown = f"HTTP 200, {{}} through the proxy http://[secret]@127.0.0.1:{proxy.port}"
        assert shown == str(found)
    (port,) = free_ports(1)
    process.setenv("http_proxy", f"http://127.0.0.1:{port}")
    assert "the proxy does not answer, or refuses" == ask("http://langsmith.invalid").problem


@pytest.mark.parametrize(
    "url", ["", "langsmith", "ftp://host", "http://", "https://[", "http://a b"]
)
def test_what_is_no_address(url: str) -> None:
    """Nothing raises."""
    found = ask(url)
    assert found.status is None
    assert found.problem
    assert found.fix


def test_a_key_that_cannot_be_a_header_is_not_quoted() -> None:
    """``requests`` quotes it."""
    with Web(lambda _: Reply()) as web:
        found = send("GET", web.url, {"x-api-key": SECRET_KEY + "\n"}, timeout_s=1)
    assert "a header cannot be sent: it holds a line break or another sign" == found.problem
    assert SECRET_KEY not in f"{found}{found.fix}"


def test_a_file_of_certificates_that_is_not_there(certificate: tuple[Path, Path]) -> None:
    """It is the file's fault, not the server's."""
    with Web(lambda _: Reply(), certificate) as web:
        found = ask(web.url, verify="/nowhere/ca.pem", ca="OTEL_EXPORTER_OTLP_CERTIFICATE")
    assert "the file of certificates cannot be read" == found.problem


@pytest.mark.parametrize("status", [204, 401, 500])
def test_any_status_is_an_answer(status: int) -> None:
    """Whatever it means."""
    with Web(lambda _: Reply(status, b"")) as web:
        assert status == ask(web.url).status
