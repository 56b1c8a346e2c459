"""The HTTP client of all deliveries: one session per thread, bounded answers, no redirects.

``requests`` is imported with the first request, on a background thread, so that importing this
package stays cheap.
"""

from __future__ import annotations

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

#: Timeouts in seconds: for connecting, which ``requests`` also applies to writing one block, and for
#: reading. https://requests.readthedocs.io/en/latest/user/advanced/#timeouts
TIMEOUT_S: Final = (10.0, 60.0)
_LOOK_UP_TIMEOUT_S: Final = (5.0, 10.0)
# A proxy may answer with a page of HTML: read the start only, log less.
_ANSWER_BYTES: Final = 2_048
_JSON_BYTES: Final = 1_000_000
_LOGGED_CHARACTERS: Final = 200


class Readable(Protocol):
    """A request body that is sent block by block and whose length is known in advance.

    With a length ``requests`` sends ``Content-Length`` instead of chunked encoding.
    """

    def read(self, size: int = -1, /) -> bytes: ...

    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request.

    Attributes:
        status: HTTP status; ``None`` without an answer.
        text: first 200 characters of the body, or the error.
        retry_after_s: delay that the server asks for, in seconds.
        ruling: what to do now.
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
        timeout_s: timeouts for connecting and for reading, in seconds.
    """

    def __init__(self, timeout_s: tuple[float, float] = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._local = threading.local()

    def post(self, url: str, headers: Mapping[str, str], body: Callable[[], Readable]) -> Answer:
        """Send a POST; never follow a redirect.

        Args:
            url: address.
            headers: headers of the request.
            body: returns a new body for this attempt: a body can be read only once.

        Returns:
            The answer; an error of the connection is one without a status.

        Raises:
            Exception: whatever ``body`` or reading it raises, except ``OSError``.
        """
        import requests

        try:
            response = self._session().post(
                url,
                data=cast("IO[bytes]", body()),
                headers=dict(headers),
                timeout=self._timeout_s,
                allow_redirects=False,
                stream=True,
            )
            with response:
                text = _read_start(response, _ANSWER_BYTES)
        except ValueError as error:
            # Not the message: for a malformed header it contains the key.
            return Answer(None, type(error).__name__, None, UNUSABLE)
        except (requests.RequestException, OSError) as error:
            return Answer(None, _shown(f"{type(error).__name__}: {error}"), None, NO_ANSWER)
        status = response.status_code
        retry_after_s = parse_retry_after(response.headers.get("Retry-After"), time.time())
        return Answer(status, _shown(text), retry_after_s, judge(status))

    def get_json(self, url: str, headers: Mapping[str, str], params: Mapping[str, str]) -> Any:
        """Return the JSON that a GET is answered with; ``None`` for anything else."""
        import requests

        try:
            response = self._session().get(
                url,
                params=dict(params),
                headers=dict(headers),
                timeout=_LOOK_UP_TIMEOUT_S,
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
            import requests

            session = self._local.session = requests.Session()
            # Without an ``auth`` requests adds credentials from ~/.netrc. Turning ``trust_env`` off
            # instead would lose the environment's proxies.
            session.auth = _no_auth
        return session


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _read_start(response: requests.Response, size: int) -> str:
    """Return the start of the body; if it breaks off, the status still counts."""
    from urllib3.exceptions import HTTPError

    try:
        data: bytes = response.raw.read(size, decode_content=True)
    except (HTTPError, OSError):
        return ""
    return data.decode("utf-8", "replace")


def _shown(text: str) -> str:
    return " ".join(text.split())[:_LOGGED_CHARACTERS]
