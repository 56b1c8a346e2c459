"""The HTTP client of all deliveries: one session per thread, bounded answers, no redirects.

A request ends at a deadline, whatever the server does (``delivery.transport``).

``requests`` is imported with the first request, on a background thread, so that importing this
package stays cheap.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, cast

from otel_realtime.diagnostics import logger_of
from otel_realtime.langsmith.statuses import NO_ANSWER, UNUSABLE, Ruling, judge, parse_retry_after

if TYPE_CHECKING:
    import requests

logger = logger_of(__name__)

#: Time for connecting, and for writing one block, in seconds.
CONNECT_S: Final = 10.0
#: Time for a request with a small body, from its beginning to the end of the answer, in seconds. A
#: larger body gets in addition the time that it takes on the slowest supported connection.
TOTAL_S: Final = 30.0
_LOOK_UP_S: Final = 10.0
# A proxy may answer with an HTML page: read only its start, and log less.
_ANSWER_BYTES: Final = 2_048
_JSON_BYTES: Final = 1_000_000
_LOGGED_CHARACTERS: Final = 200


class Readable(Protocol):
    """A request body that is sent block by block and whose length is known in advance.

    With a length ``requests`` sends ``Content-Length`` instead of chunked encoding.
    """

    def __len__(self) -> int: ...

    def read(self, size: int = -1, /) -> bytes: ...

    def __iter__(self) -> Iterator[bytes]: ...


class Body(io.BytesIO):
    """A body in memory, sent in blocks, each of which may take long on a slow connection."""

    def __len__(self) -> int:
        return len(self.getbuffer())


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request.

    Attributes:
        status: HTTP status; ``None`` without an answer.
        text: first 200 characters of the body, or the error.
        retry_after_s: delay that the server asks for, in seconds.
        ruling: what to do next.
    """

    status: int | None
    text: str
    retry_after_s: float | None
    ruling: Ruling

    def __str__(self) -> str:
        where = "no answer" if self.status is None else f"HTTP {self.status}"
        return f"{where}, {self.ruling.reason}" + (f": {self.text}" if self.text else "")


class Http:
    """Sends requests; thread-safe, because each thread has a session of its own.

    Args:
        total_s: time for a request with a small body, in seconds.
    """

    def __init__(self, total_s: float = TOTAL_S) -> None:
        self._total_s = total_s
        self._local = threading.local()

    def post(self, url: str, headers: Mapping[str, str], body: Callable[[], Readable]) -> Answer:
        """Send a POST; never follow a redirect.

        Args:
            url: address.
            headers: headers of the request.
            body: returns a new body for this attempt, because a body can be read only once.

        Returns:
            The answer; without a status for an error of the connection.

        Raises:
            Exception: whatever ``body`` or reading it raises, except ``OSError``.
        """
        import requests

        from otel_realtime.delivery.transport import deadline, time_for

        data = body()
        total_s = time_for(len(data), self._total_s)
        try:
            with deadline(total_s):
                response = self._session().post(
                    url,
                    data=cast("IO[bytes]", data),
                    headers=dict(headers),
                    timeout=(min(CONNECT_S, total_s), total_s),
                    allow_redirects=False,
                    stream=True,
                )
                with response:
                    text = _read_start(response, _ANSWER_BYTES)
        except ValueError as error:
            # Without the message, which contains the key if a header is malformed.
            return Answer(None, type(error).__name__, None, UNUSABLE)
        except (requests.RequestException, OSError) as error:
            return Answer(None, _shown(f"{type(error).__name__}: {error}"), None, NO_ANSWER)
        status = response.status_code
        retry_after_s = parse_retry_after(response.headers.get("Retry-After"), time.time())
        return Answer(status, _shown(text), retry_after_s, judge(status))

    def get_json(self, url: str, headers: Mapping[str, str], params: Mapping[str, str]) -> Any:
        """Return the JSON answer to a GET; ``None`` for any other answer."""
        import requests

        from otel_realtime.delivery.transport import deadline

        try:
            with deadline(_LOOK_UP_S):
                response = self._session().get(
                    url,
                    params=dict(params),
                    headers=dict(headers),
                    timeout=_LOOK_UP_S,
                    allow_redirects=False,
                    stream=True,
                )
                with response:
                    return json.loads(_read_start(response, _JSON_BYTES)) if response.ok else None
        except (requests.RequestException, OSError, ValueError) as error:
            logger.debug("GET %s failed: %s", url, error)
            return None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            from otel_realtime.delivery.transport import new_session

            session = self._local.session = new_session()
            # Without an ``auth`` requests adds credentials from ~/.netrc. Turning ``trust_env`` off
            # instead would lose the environment's proxies.
            session.auth = _no_auth
        return session


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _read_start(response: requests.Response, size: int) -> str:
    """Return the start of the body; empty if it breaks off, because the status still counts."""
    from urllib3.exceptions import HTTPError

    try:
        data: bytes = response.raw.read(size, decode_content=True)
    except (HTTPError, OSError):
        return ""
    return data.decode("utf-8", "replace")


def _shown(text: str) -> str:
    return " ".join(text.split())[:_LOGGED_CHARACTERS]
