"""Requests that end at their deadline, whatever the server does with the connection."""

from __future__ import annotations

import io
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from otel_realtime.delivery.transport import BASE_S, SLOWEST, deadline, new_session, time_for
from tests.support.hostile_http import (
    ACCEPTED,
    Behaviour,
    Exchange,
    HostileServer,
    accept,
    continue_forever,
    drip_body,
    drip_chunks,
    drip_head,
    drip_headers_forever,
    hostile,
    silent,
    sip,
)

SLOW = [silent, drip_head, drip_headers_forever, drip_body, drip_chunks, continue_forever, sip]


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with new_session() as made:
        yield made


def post(session: requests.Session, url: str, body: bytes = b"x" * 20_000) -> requests.Response:
    """One request, and all of its answer."""
    return session.post(url + "/runs", data=io.BytesIO(body), timeout=(10, 60))


@pytest.mark.alone
@pytest.mark.parametrize("behaviour", SLOW, ids=lambda behaviour: behaviour.__name__)
def test_a_slow_server_is_left_at_the_deadline(
    session: requests.Session, behaviour: Behaviour
) -> None:
    """Although each byte came, or went, well within the timeouts of ``requests``."""
    body = b"x" * (20_000_000 if behaviour is sip else 20_000)
    with hostile(lambda _: behaviour) as server:
        started = time.monotonic()
        with pytest.raises((requests.RequestException, OSError)), deadline(0.5):
            post(session, server.url, body)
        assert 0.4 < time.monotonic() - started < 2


def test_a_deadline_is_that_of_one_request(session: requests.Session) -> None:
    """A connection that is used again has a new one; without any, timeouts are as ever."""
    with hostile(lambda _: accept) as server:
        for seconds in (5.0, 0.3, 5.0):
            with deadline(seconds):
                assert 202 == post(session, server.url).status_code
            time.sleep(0.2)
        assert 202 == post(session, server.url).status_code
        assert 1 == len({exchange.connection for exchange in server.exchanges})


def test_the_answer_is_whole(session: requests.Session) -> None:
    """Large ones, in chunks, and after interim answers."""

    def answer(exchange: Exchange) -> None:
        exchange.read_all()
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        exchange.send(b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            exchange.send(b"2710\r\n" + b"y" * 10_000 + b"\r\n")
        exchange.send(b"0\r\n\r\n")

    with hostile(lambda _: answer) as server, deadline(10):
        assert b"y" * 1_000_000 == post(session, server.url).content


def test_a_server_that_closes(session: requests.Session) -> None:
    """``Connection: close``: the answer is read although the connection is given up."""

    def answer(exchange: Exchange) -> None:
        exchange.read_all()
        exchange.send(ACCEPTED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    with hostile(lambda _: answer) as server, deadline(10):
        assert [b"{}", b"{}"] == [post(session, server.url).content for _ in range(2)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    made = subprocess.run([*command.split(), *names, *files], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("no openssl here")
    return folder / "cert.pem", folder / "key.pem"


class TlsServer(HostileServer):
    """The same over TLS."""

    def __init__(self, choose: object, certificate: tuple[Path, Path]) -> None:
        super().__init__(choose)  # type: ignore[arg-type]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        plain = self._serve

        def serve(raw: socket.socket) -> None:
            try:
                secure = context.wrap_socket(raw, server_side=True)
            except OSError:
                return
            plain(secure)

        self._serve = serve  # type: ignore[method-assign]
        self.url = self.url.replace("http:", "https:")


@pytest.mark.alone
@pytest.mark.parametrize("behaviour", [accept, silent, drip_head, drip_body, sip])
def test_tls(
    session: requests.Session, certificate: tuple[Path, Path], behaviour: Behaviour
) -> None:
    """The same over an encrypted connection."""
    session.verify, session.trust_env = str(certificate[0]), False
    server = TlsServer(lambda _: behaviour, certificate)
    try:
        with deadline(10):
            server.choose, told = (lambda _: accept), server.choose
            assert 202 == post(session, server.url).status_code
        server.choose = told
        if behaviour is accept:
            return
        body = b"x" * (20_000_000 if behaviour is sip else 20_000)
        started = time.monotonic()
        with pytest.raises((requests.RequestException, OSError)), deadline(0.5):
            post(session, server.url, body)
        assert 0.4 < time.monotonic() - started < 2
    finally:
        server.close()


@pytest.mark.alone
def test_a_proxy(session: requests.Session) -> None:
    """Plain requests go through it; one that drips its answer to CONNECT is left, too."""

    def through(exchange: Exchange) -> Behaviour:
        return drip_head if exchange.head.startswith(b"CONNECT") else accept

    with hostile(through) as proxy:
        session.proxies = {"http": proxy.url, "https": proxy.url}
        with deadline(10):
            assert 202 == post(session, "http://langsmith.invalid").status_code
        started = time.monotonic()
        with pytest.raises(requests.RequestException), deadline(0.5):
            post(session, "https://langsmith.invalid")
        assert 0.4 < time.monotonic() - started < 2


def test_threads_have_deadlines_of_their_own(session: requests.Session) -> None:
    """One that ends does not end another."""
    with hostile(lambda _: silent) as server:
        ended: list[float] = []

        def one(seconds: float) -> None:
            with pytest.raises((requests.RequestException, OSError)), deadline(seconds):
                post(new_session(), server.url)
            ended.append(seconds)

        threads = [threading.Thread(target=one, args=(seconds,)) for seconds in (0.8, 0.2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert [0.2, 0.8] == ended


def test_a_large_body_has_more_time() -> None:
    """As much as the slowest line takes that is worth while."""
    assert (BASE_S, BASE_S + 10) == (time_for(0), time_for(10 * SLOWEST))
