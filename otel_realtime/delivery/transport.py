"""HTTP sessions in which a whole request ends at a deadline, however slowly a server answers.

A ``requests`` timeout applies to one read or write, so a server that sends or accepts a byte now and
then blocks its client forever (https://requests.readthedocs.io/en/latest/user/advanced/#timeouts).
Here no read or write of a request waits beyond the request's deadline::

    with deadline(30.0):
        with session.post(...) as response:
            response.raw.read(...)

Names are resolved by the system, which has timeouts of its own. This module imports ``requests``, so
import it on a background thread only.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager, ProxyManager

from otel_realtime.delivery.untraced import NO_TRACE, untraced

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

#: Time for a request with a small body, in seconds.
BASE_S: Final = 30.0
#: Slowest connection, in bytes per second, on which a large body is still sent completely.
SLOWEST: Final = 64 * 1024

# A request is made on one thread from its beginning to its end.
_request: Final = threading.local()


def time_for(size: int, base_s: float = BASE_S) -> float:
    """Return the seconds that a request may take.

    Args:
        size: bytes of its body.
        base_s: time for a small body, in seconds.
    """
    return base_s + size / SLOWEST


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Limit the requests of the block to a number of seconds in total; after that they time out."""
    before = getattr(_request, "until", None)
    _request.until = time.monotonic() + seconds
    try:
        yield
    finally:
        _request.until = before


def new_session() -> requests.Session:
    """Return a session whose requests end at their deadline; proxies work as usual."""
    session = _Session()
    for prefix in ("http://", "https://"):
        session.mount(prefix, _Adapter())
    return session


class _Session(requests.Session):
    """A session whose requests are not traced."""

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        response: requests.Response = untraced(requests.Session, "send", self)(*args, **kwargs)
        return response


class _Socket:
    """A connected socket on which every read and write ends at the request's deadline."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self._timeout_s = real.gettimeout()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def settimeout(self, value: float | None) -> None:
        self._timeout_s = value
        self._real.settimeout(value)

    def limit(self) -> None:
        """Set the timeout of the next read or write.

        Raises:
            TimeoutError: the deadline has passed.
        """
        until = getattr(_request, "until", None)
        if until is None:
            return
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the request took too long")
        self._real.settimeout(left_s if self._timeout_s is None else min(left_s, self._timeout_s))

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        self.limit()
        self._real.sendall(data, flags)

    def makefile(self, mode: str = "rb", *_: Any, **__: Any) -> io.BufferedReader:
        # Unbuffered, so that each of its reads is one read of the socket.
        return io.BufferedReader(_Reader(self, self._real.makefile("rb", buffering=0)))


class _Reader(io.RawIOBase):
    """Reads from a socket."""

    def __init__(self, of: _Socket, real: io.RawIOBase | socket.SocketIO) -> None:
        self._of = of
        self._real = real

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        self._of.limit()
        return cast("int | None", self._real.readinto(buffer))

    def close(self) -> None:
        if not self.closed:
            self._real.close()
        super().close()


class _Bounded:
    """The common parts of both kinds of connection."""

    sock: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        setattr(self, NO_TRACE, True)

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.sock = _Socket(self.sock)

    def _tunnel(self) -> None:
        # This reads a proxy's answer to CONNECT. TLS then runs on the real socket.
        real = self.sock
        self.sock = _Socket(real)
        super()._tunnel()  # type: ignore[misc]
        self.sock = real


class _Connection(_Bounded, HTTPConnection):
    pass


class _SecureConnection(_Bounded, HTTPSConnection):
    pass


class _Untraced:
    def urlopen(self, *args: Any, **kwargs: Any) -> Any:
        return untraced(HTTPConnectionPool, "urlopen", self)(*args, **kwargs)


class _Pool(_Untraced, HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(_Untraced, HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS: Final = {"http": _Pool, "https": _SecurePool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        if isinstance(manager, ProxyManager):  # SOCKS has pools of its own
            manager.pool_classes_by_scheme = _POOLS
        return manager
