"""HTTP as all deliveries use it: one session per thread, bounded answers, no surprises.

``requests`` is imported when the first request is made, on a background thread, so importing the
package stays light.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, cast

from otel_realtime.langsmith.statuses import NO_ANSWER, UNUSABLE, Ruling, judge, parse_retry_after

if TYPE_CHECKING:
    import requests

logger = logging.getLogger(__name__)

TIMEOUT_S: Final = (10.0, 60.0)  # connect (also one block written), read
_LOOK_UP_TIMEOUT_S: Final = (5.0, 10.0)
_ANSWER_BYTES: Final = 2_048
_JSON_BYTES: Final = 1_000_000
_LOGGED_CHARACTERS: Final = 200


class Readable(Protocol):
    """A request body sent block by block; its length is known beforehand."""

    def read(self, size: int = -1, /) -> bytes: ...

    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request.

    Attributes:
        status: HTTP status, None without an answer.
        text: first 200 characters of the body, or what went wrong on the way.
        retry_after_s: seconds the server asks to wait.
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
    """Makes requests; safe from any thread, each with a session of its own."""

    def __init__(self, timeout_s: tuple[float, float] = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._local = threading.local()

    def post(self, url: str, headers: Mapping[str, str], body: Callable[[], Readable]) -> Answer:
        """Send a POST whose body is made anew for this try; never follows a redirect.

        Raises:
            Exception: whatever ``body`` or reading it raises, when that is no OSError.
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
                text = _head(response, _ANSWER_BYTES)
        except ValueError as error:
            # Only the kind: the message of a malformed header holds the key.
            return Answer(None, type(error).__name__, None, UNUSABLE)
        except (requests.RequestException, OSError) as error:
            return Answer(None, _shown(f"{type(error).__name__}: {error}"), None, NO_ANSWER)
        wish = parse_retry_after(response.headers.get("Retry-After"), time.time())
        return Answer(response.status_code, _shown(text), wish, judge(response.status_code))

    def get_json(self, url: str, headers: Mapping[str, str], params: Mapping[str, str]) -> Any:
        """Return the JSON a GET answers with, or None for anything else."""
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
                return json.loads(_head(response, _JSON_BYTES)) if response.ok else None
        except (requests.RequestException, OSError, ValueError) as error:
            logger.debug("GET %s failed: %s", url, error)
            return None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            import requests

            session = self._local.session = requests.Session()
            # Proxies from the environment are wanted, passwords from a .netrc are not.
            session.auth = _unchanged
        return session


def _unchanged(request: Any) -> Any:
    return request


def _head(response: requests.Response, size: int) -> str:
    """Return the start of the body; one that breaks off leaves the status as it is."""
    from urllib3.exceptions import HTTPError

    try:
        data: bytes = response.raw.read(size, decode_content=True)
    except (HTTPError, OSError):
        return ""
    return data.decode("utf-8", "replace")


def _shown(text: str) -> str:
    return " ".join(text.split())[:_LOGGED_CHARACTERS]
