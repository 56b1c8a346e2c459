"""Reads calls from a sandbox through its read API."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit
from uuid import UUID

import requests
from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_realtime.calls.runs import call_of_runs
from otel_realtime.errors import ConfigError, RecordingError
from otel_realtime.exporting.sources import MIMES, Source

#: Longest wait for the server to answer, s.
_TIMEOUT_S: Final = 30.0
_SUFFIXES: Final = {mime: suffix for suffix, mime in MIMES.items() if suffix != ".opus"}
#: How many calls an error lists when an id matches several.
_NAMED: Final = 5


def from_sandbox(what: str, url: str, key: str | None) -> Source:
    """Return a call of a sandbox.

    Args:
        what: its thread id, trace id or run id, or the address of its page.
        url: the sandbox's base URL.
        key: key to read with; None: none.

    Raises:
        ConfigError: there is no sandbox, or no such call, or several.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError(f"--url {url!r} is no address: http://127.0.0.1:8321 is one")
    get = partial(_get, url.rstrip("/"), key)
    wanted = urlsplit(what).path.rstrip("/").rpartition("/")[2] if "://" in what else what
    listed = _conversations(get("/api/conversations"), url)
    found = [one for one in listed if wanted in (one["id"], one.get("thread_id"))]
    if not found:
        found = (
            [one for one in listed if wanted == _trace_id(get, one)] if _is_trace(wanted) else []
        )
    if not found:
        raise ConfigError(f"no call {what!r} in the sandbox at {url}")
    if len(found) > 1:
        ids = ", ".join(one["id"] for one in found[:_NAMED])
        raise ConfigError(f"{what!r} is {len(found)} calls, name one of them: {ids}")
    run_id = found[0]["id"]
    call = call_of_runs(get(f"/api/conversations/{quote(run_id)}").json()["runs"])
    if call is None:
        raise ConfigError(f"{run_id} is no call of otel-realtime's")
    return Source(name=run_id, call=call, recording=partial(_download, get, run_id))


def _conversations(answer: Any, url: str) -> list[dict[str, Any]]:
    """Return the calls that a sandbox lists; ids must be UUIDs, because files are named after them."""
    try:
        listed = answer.json()["conversations"]
        return [one for one in listed if str(UUID(one["id"])) == one["id"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{url} lists no calls: is this a sandbox?") from error


def _is_trace(text: str) -> bool:
    return len(text) == 32 and all(character in "0123456789abcdef" for character in text)


def _trace_id(get: Any, listed: dict[str, Any]) -> str | None:
    found = get(f"/api/conversations/{quote(listed['id'])}?payloads=false").json()
    trace_id: str | None = found["root"]["otel_trace_id"]
    return trace_id


def _download(get: Any, run_id: str, into: Path) -> Path | None:
    answer = get(f"/api/conversations/{quote(run_id)}/recording", missing=True)
    if answer is None:
        return None
    mime = answer.headers.get("content-type", "").split(";")[0]
    path = into / f".download{_SUFFIXES.get(mime, '.wav')}"
    try:
        with path.open("wb") as file, answer:
            shutil.copyfileobj(answer.raw, file)
    except (OSError, requests.RequestException) as error:
        raise RecordingError(f"cannot fetch the recording: {error}") from error
    return path


def _get(url: str, key: str | None, path: str, *, missing: bool = False) -> Any:
    """Return the response to a GET request.

    Args:
        url: the sandbox's base URL.
        key: key to read with.
        path: the path to request.
        missing: return None on 404, and stream the body instead of reading it at once.

    Raises:
        ConfigError: no sandbox answers at the URL, or it refuses the request.
    """
    headers = {"x-api-key": key} if key else {}
    try:
        with suppress_instrumentation():
            answer = requests.get(url + path, headers=headers, timeout=_TIMEOUT_S, stream=missing)
    except requests.RequestException as error:
        raise ConfigError(f"no sandbox answers at {url}: {_reason(error)}") from error
    if answer.status_code == 401:
        raise ConfigError(f"the sandbox at {url} wants a key: give --key")
    if answer.status_code == 404 and missing:
        return None
    if answer.status_code != 200:
        raise ConfigError(f"{url}{path} answers {answer.status_code}: is this a sandbox?")
    return answer


def _reason(error: Exception) -> str:
    inner = getattr(error.args[0], "reason", None) if error.args else None
    return str(inner or error).rpartition(": ")[2]
