"""Sends one HTTP request and explains the result in plain words.

The request is sent like the package's deliveries: with the environment's proxies, one deadline for the
whole request, no redirects, and nothing from ``~/.netrc``. ``requests`` is imported at module level, so
that it is ready when the threads of the checks use it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import requests
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError

from otel_realtime.credentials import without_secrets
from otel_realtime.delivery.transport import deadline, new_session

#: Most bytes of a response that are read.
_MOST_BYTES: Final = 1_000_000
#: Most characters of a response that are shown.
_SHOWN: Final = 120

_TLS: Final = "the TLS handshake failed"
#: The server does not accept the client: it sent no certificate, or one that the server does not trust.
#: Some servers then only close the connection.
CLIENT_UNKNOWN: Final = f"{_TLS}: the server takes no client without a certificate that it knows"
BROKEN_OFF: Final = f"{_TLS}: the server broke it off"
_CLIENT_FIX: Final = "present a client certificate of an authority that it trusts"
#: Word in a TLS error -> what it means, and what to do. The first match counts; the last entry matches all.
_TLS_ERRORS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "WRONG_VERSION_NUMBER",
        f"{_TLS}: the server speaks no TLS on this port",
        "use http:// instead of https://, or the port that speaks TLS",
    ),
    ("RECORD_LAYER_FAILURE", f"{_TLS}: the server speaks no TLS on this port", "use http://"),
    (
        "self-signed",
        f"{_TLS}: the certificate is self-signed, or its authority is not known here",
        "name the authority's certificate in {ca}",
    ),
    (
        "self signed",
        f"{_TLS}: the certificate is self-signed, or its authority is not known here",
        "name the authority's certificate in {ca}",
    ),
    (
        "unable to get local issuer",
        f"{_TLS}: the certificate's authority is not known here",
        "name the authority's certificate in {ca}",
    ),
    (
        "certificate has expired",
        f"{_TLS}: the certificate has expired, or this machine's clock is wrong",
        "renew it, or set the clock",
    ),
    (
        "not yet valid",
        f"{_TLS}: the certificate is not valid yet, or this machine's clock is wrong",
        "set the clock",
    ),
    (
        "match",  # "doesn't match"; other versions say "certificate is not valid for"
        f"{_TLS}: the certificate is for another host name",
        "use the name that stands in the certificate",
    ),
    ("not valid for", f"{_TLS}: the certificate is for another host name", "use its name"),
    ("ALERT_CERTIFICATE_REQUIRED", CLIENT_UNKNOWN, _CLIENT_FIX),
    ("ALERT_UNKNOWN_CA", CLIENT_UNKNOWN, _CLIENT_FIX),
    ("ALERT_BAD_CERTIFICATE", CLIENT_UNKNOWN, _CLIENT_FIX),
    ("ALERT_CERTIFICATE_EXPIRED", CLIENT_UNKNOWN, _CLIENT_FIX),
    ("ALERT_CERTIFICATE_UNKNOWN", CLIENT_UNKNOWN, _CLIENT_FIX),
    ("EOF occurred", BROKEN_OFF, f"it may want to know the client: {_CLIENT_FIX}"),
    ("", f"{_TLS}", "check the server's TLS, and {ca}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The result of a request.

    Attributes:
        status: HTTP status; ``None`` without a response.
        problem: why there is no response; empty if there is one.
        fix: what to do about that.
        headers: headers of the response.
        body: start of the response's body.
        proxy: the proxy that the request went through; empty if none.
        sent_s: when the request was sent, epoch seconds.
        came_s: when the response came, epoch seconds.
    """

    status: int | None = None
    problem: str = ""
    fix: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    proxy: str = ""
    sent_s: float = 0.0
    came_s: float = 0.0

    @property
    def json(self) -> Any:
        """The body as JSON; ``None`` if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def is_page(self) -> bool:
        """Whether the response is a web page."""
        kind = self.headers.get("Content-Type", "").lower()
        return "html" in kind or self.body.lstrip()[:1] == b"<"

    @property
    def redirect(self) -> str:
        """The target of a redirect, without credentials; empty if it is not a redirect."""
        if self.status is None or self.status // 100 != 3:
            return ""
        return without_secrets(self.headers.get("Location", "")) or "nowhere"

    @property
    def through(self) -> str:
        """The proxy, to be appended to a sentence."""
        return f" through the proxy {self.proxy}" if self.proxy else ""

    def __str__(self) -> str:
        if self.status is None:
            return self.problem + self.through
        text = " ".join(self.body.decode("utf-8", "replace").split())
        if self.redirect:
            text = f"redirect to {self.redirect}"
        elif self.is_page:
            text = "a web page"
        elif not text.isprintable():
            text = ""
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
        return f"HTTP {self.status}" + (f", {shown}" if shown else "") + self.through


def send(
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    timeout_s: float,
    body: bytes | None = None,
    ca: str = "REQUESTS_CA_BUNDLE",
    verify: str | None = None,
    cert: str | tuple[str, str] | None = None,
) -> Reply:
    """Send a request and return the result; never raises.

    Args:
        method: HTTP method.
        url: address.
        headers: headers.
        timeout_s: time for the whole request, in seconds.
        body: body.
        ca: the variable that names the CA certificates, for the advice.
        verify: file of CA certificates; ``None``: the usual ones.
        cert: the client's certificate, and its key.
    """
    session = new_session()
    session.auth = _no_auth
    proxy = _proxy_for(url)
    sent_s = time.time()
    try:
        with session, deadline(timeout_s):
            response = session.request(
                method,
                url,
                headers=dict(headers),
                data=body,
                timeout=timeout_s,
                allow_redirects=False,
                stream=True,
                verify=verify,
                cert=cert,
            )
            came_s = time.time()
            with response:
                found = _read(response)
    except Exception as error:  # noqa: BLE001 - an address or a certificate may cause any error
        problem, fix = explain(error, timeout_s, ca)
        return Reply(problem=problem, fix=fix, proxy=proxy, sent_s=sent_s)
    return Reply(
        status=response.status_code,
        headers=response.headers,
        body=found,
        proxy=proxy,
        sent_s=sent_s,
        came_s=came_s,
    )


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _read(response: requests.Response) -> bytes:
    try:
        data: bytes = response.raw.read(_MOST_BYTES, decode_content=True)
    except (HTTPError, OSError):  # the connection broke off, but the status still counts
        return b""
    return data


def _proxy_for(url: str) -> str:
    try:
        return without_secrets(select_proxy(url, get_environ_proxies(url)) or "")
    except Exception:  # noqa: BLE001 - not a valid address
        return ""


def explain(error: BaseException, timeout_s: float, ca: str) -> tuple[str, str]:
    """Return in plain words why there was no response, and what to do.

    Args:
        error: the exception of the request. Its text is not shown, because it may contain a header.
        timeout_s: the time that the request had, in seconds.
        ca: the variable that names the CA certificates.
    """
    from requests import exceptions as known

    text = str(error)
    if isinstance(error, known.ProxyError):
        return "the proxy does not answer, or refuses", "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    if isinstance(error, known.SSLError):
        for word, problem, fix in _TLS_ERRORS:
            if word in text:
                return problem, fix.format(ca=ca)
    if isinstance(error, known.Timeout | TimeoutError) or "took too long" in text:
        return f"no answer within {timeout_s:.3g} s", "check the address, the firewall, the proxy"
    if isinstance(error, known.InvalidHeader) or "header" in type(error).__name__.lower():
        return "a header cannot be sent: it holds a line break or another sign", "correct the key"
    if isinstance(error, known.ConnectionError):
        return _connection_error(text)
    if isinstance(error, ValueError):  # requests' errors about addresses are ValueErrors
        return "not an address that can be asked", "it begins with http:// or https://"
    if isinstance(error, OSError) and ("certificate" in text or "TLS" in text):
        return "the file of certificates cannot be read", f"check {ca}"
    return f"the request failed ({type(error).__name__})", "check the address"


def _connection_error(text: str) -> tuple[str, str]:
    lowered = text.lower()
    if "resolve" in lowered or "name or service" in lowered or "getaddrinfo" in lowered:
        return "there is no host of that name", "check the address, and the DNS of this machine"
    if "refused" in lowered:
        return "connection refused: nothing listens there", "start it, or correct the address"
    if "reset" in lowered:
        return "the server reset the connection", "check that it speaks HTTP on this port"
    if "unreachable" in lowered:
        return "the network is unreachable", "check this machine's network and the proxy"
    if "aborted" in lowered or "closed" in lowered or "disconnected" in lowered:
        return "the server closed the connection", "check that it speaks HTTP on this port"
    return "the connection failed", "check the address, the firewall, the proxy"
