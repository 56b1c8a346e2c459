"""Controls access to the sandbox: by host name, by origin, and by key.

The sandbox holds the content of calls, on a developer's machine, where every page in the browser can
send requests to it. It makes three checks, in this order:

1. *Host.* A page whose name was re-bound to 127.0.0.1 (DNS rebinding) reaches the server under its
   own name, so a request for any other host name gets status 421:
   https://www.rfc-editor.org/rfc/rfc9110#section-15.5.20
2. *Origin.* A browser names the page that sends a request. A request from another page gets status 403.
   So does a request that another site's page makes for one of its parts, which has no Origin but a
   ``Sec-Fetch-Site``:
   https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
3. *Key*, if the sandbox has keys, for everything that can be read. Programs send ``x-api-key``, as to
   LangSmith. A browser gets the key from a form or from a link (``?key=``), and exchanges it for a
   cookie, which is valid until the server ends. LangSmith's own routes check their key themselves.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from otel_realtime.sandbox.bodies import read_body
from otel_realtime.sandbox.model import RequestError
from otel_realtime.sandbox.rows import encode

#: The page shows text from recorded calls; this policy prevents such text from running or loading anything.
#: https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/CSP
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; media-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
#: Path to which the form sends a key.
LOGIN: Final = "/login"
_COOKIE: Final = "otel_realtime_sandbox"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
#: Addresses that stand for every address of the machine.
_WILDCARDS: Final = frozenset({"", "0.0.0.0", "::"})
#: Paths that show no content of calls, and so need no key.
_OPEN: Final = ("/static/", "/info", "/api/v1/info")
#: LangSmith's routes, which require the ``x-api-key`` header and answer like LangSmith.
_LANGSMITH: Final = ("/otel/", "/runs", "/sessions", "/api/v1/")
#: A name or an address, and a port: https://www.rfc-editor.org/rfc/rfc9110#section-7.2
_HOST: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_MAX_FORM_BYTES: Final = 10_000
_FORM: Final = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>otel-realtime sandbox</title>
<link rel="stylesheet" href="/static/page.css"></head>
<body><header><a class="home" href="/">otel-realtime <span>calls</span></a></header>
<main><form class="card" method="post" action="{action}">
<h1>A key is needed</h1>
<p>{message}</p>
<p><input type="password" name="key" autocomplete="current-password" autofocus required
 aria-label="key"> <button>Open</button></p>
</form></main></body>
</html>
"""


def own_names(host: str, more: Collection[str] = ()) -> frozenset[str]:
    """Return the host names under which a server that listens on this address is reached.

    IP addresses of the machine need not be listed: they are compared with the connection's address.

    Args:
        host: the address that it listens on.
        more: further names, for example of a proxy or in a container network.
    """
    names = {name.lower().rstrip(".") for name in (host, *more)} - _WILDCARDS
    if host in _WILDCARDS or host in _LOOPBACK:
        names |= _LOOPBACK
    if host in _WILDCARDS:
        names |= {socket.gethostname().lower()}
    return frozenset(names)


class Access:
    """Passes a request on to the application, or refuses it.

    Args:
        app: the application.
        names: the names of this host; see ``own_names``.
        keys: the accepted keys; None: no key is needed.
    """

    def __init__(self, app: ASGIApp, *, names: Collection[str], keys: Collection[str] | None):
        self._app = app
        self._names = frozenset(names)
        self._keys = None if keys is None else [key.encode() for key in keys]
        # The cookie does not hold the key, but a ticket that is valid only for this server's lifetime.
        self._ticket = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        answer: Response | None = None
        if scope["type"] == "http":
            try:
                answer = await self._refusal(scope, Request(scope, receive))
            except RequestError as error:
                answer = refused(error.status, str(error))
            except ClientDisconnect:
                answer = Response(status_code=400)  # nobody reads it, but a response is required
        await (answer or self._app)(scope, receive, send)

    async def _refusal(self, scope: Scope, request: Request) -> Response | None:
        """Return the response to a request that is not allowed; None if it is allowed."""
        headers = request.headers
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own(hosts[0], scope):
            return refused(421, "this server answers to its own host names only")
        if not _is_same_origin(headers, hosts[0]):
            return refused(403, "this server answers to its own pages only")
        path = scope["path"]
        if self._keys is None or path.startswith(_OPEN):
            return None
        if path == LOGIN and request.method == "POST":
            return await self._log_in(request)
        if path.startswith(_LANGSMITH) or self._admits(request):
            return None
        return self._ask(request)

    def _is_own(self, host: str, scope: Scope) -> bool:
        name = _host_name(host)
        if name is None:
            return False
        if name in self._names:
            return True
        # The address that the connection was made to is safe: DNS rebinding needs a name.
        server = scope.get("server")
        return server is not None and _address(name) is not None and _same(name, str(server[0]))

    def _admits(self, request: Request) -> bool:
        if self._knows(request.headers.get("x-api-key", "")):
            return True
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(request.headers.get("cookie", ""))
        except CookieError:
            return False
        ticket = cookies.get(_COOKIE)
        return ticket is not None and _equal(ticket.value.encode(), self._ticket.encode())

    def _knows(self, key: str) -> bool:
        # Every key is compared, so that the time does not reveal which one matched.
        given = key.encode("utf-8", "replace")
        return bool(key) and sum(_equal(given, known) for known in self._keys or ()) > 0

    def _ask(self, request: Request) -> Response:
        """Answer a request without a key header: accept the key in its link, or ask for a key."""
        asked: str = request.scope["query_string"].decode("latin-1")
        query = parse_qsl(asked, keep_blank_values=True)
        if request.method == "GET" and any(
            name == "key" and self._knows(value) for name, value in query
        ):
            # Redirect to the link without the key, so that neither the history nor the page has it.
            rest = urlencode([(name, value) for name, value in query if name != "key"])
            return self._admitted(request.scope["path"] + (f"?{rest}" if rest else ""))
        if "text/html" in request.headers.get("accept", ""):
            return _form("This sandbox shows its conversations to whoever has one of its keys.")
        return refused(401, "a valid x-api-key header is required")

    async def _log_in(self, request: Request) -> Response:
        body = await read_body(request, _MAX_FORM_BYTES)
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
        if self._knows(fields.get("key", [""])[0]):
            return self._admitted("/")
        return _form("That is not one of its keys.")

    def _admitted(self, location: str) -> Response:
        # Two slashes at the beginning would name another host.
        answer = RedirectResponse("/" + location.lstrip("/\\"), 303, headers=HEADERS)
        answer.set_cookie(_COOKIE, self._ticket, path="/", httponly=True, samesite="strict")
        return answer


def refused(status: int, message: str) -> Response:
    """Return an error as JSON, in LangSmith's shape."""
    body = encode({"error": message, "details": message})
    return Response(body, status, media_type="application/json", headers=HEADERS)


def _form(message: str) -> Response:
    page = _FORM.format(action=LOGIN, message=message)
    return Response(page, 401, media_type="text/html", headers=HEADERS)


def _host_name(host: str) -> str | None:
    """Return the name or address in a Host header, without the port; None if it is malformed."""
    found = _HOST.fullmatch(host)
    return None if found is None else found[1].strip("[]").rstrip(".").lower() or None


def _is_same_origin(headers: Headers, host: str) -> bool:
    origins = headers.getlist("origin")
    if origins:
        # Behind a proxy the scheme may differ; host and port are those that the browser sees.
        schemes = {f"{scheme}://{host}".lower() for scheme in ("http", "https")}
        return all(origin.lower() in schemes for origin in origins)
    site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "")
    # Following a link to the sandbox is not a request of the page that has the link.
    return site in ("none", "same-origin") or mode == "navigate"


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _same(name: str, server: str) -> bool:
    one, other = _address(name), _address(server)
    if isinstance(other, ipaddress.IPv6Address) and other.ipv4_mapped is not None:
        other = other.ipv4_mapped
    return one is not None and one == other


def _equal(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)
