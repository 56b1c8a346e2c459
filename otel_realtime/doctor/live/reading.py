"""Reads runs back with LangSmith's own client, until all are complete or the time is over."""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from typing import Any, Final

import requests

from otel_realtime.langsmith.config import LangSmithConfig

_EVERY_S: Final = 1.0


class Reader:
    """Reads runs.

    Args:
        config: LangSmith's address and key.
        start_ns: start of the trace, epoch ns; some servers need it besides a run's id.
        timeout_s: time for a request, in seconds.

    Attributes:
        project_id: id of the project, which some servers also need.
        errors: why a run could not be read the last time, by its id.

    Raises:
        ModuleNotFoundError: LangSmith's client is not installed.
    """

    def __init__(self, config: LangSmithConfig, start_ns: int, timeout_s: float) -> None:
        from langsmith import Client

        session = requests.Session()
        session.max_redirects = 0  # a redirect would take the key to another host
        milliseconds = int(timeout_s * 1000)
        self._client: Any = Client(
            **_known(
                Client.__init__,
                api_url=config.api_url,
                api_key=config.api_key,
                workspace_id=config.workspace_id,
                session=session,
                auto_batch_tracing=False,
                timeout_ms=(milliseconds, milliseconds),
                tracing_mode="langsmith",
            )
        )
        self._start = datetime.fromtimestamp(start_ns / 1e9, timezone.utc)
        self.project_id: str | None = None
        self.errors: dict[str, str] = {}

    def read(self, run_id: str) -> Any:
        """Return a run; ``None`` if it cannot be read (yet)."""
        read = self._client.read_run
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about names that a later version removes
                found = read(
                    run_id, **_known(read, project_id=self.project_id, start_time=self._start)
                )
        except Exception as error:  # noqa: BLE001 - the client may raise anything
            self.errors[run_id] = told(error)
            return None
        self.errors.pop(run_id, None)
        return found

    def wait(
        self,
        run_ids: Collection[str],
        deadline: float,
        is_whole: Callable[[Any], bool] = lambda _run: True,
    ) -> dict[str, Any]:
        """Return the runs that can be read, after waiting for the missing and incomplete ones.

        Args:
            run_ids: ids of the runs.
            deadline: ``time.monotonic()`` at which the wait ends.
            is_whole: returns whether a run is complete.
        """
        found: dict[str, Any] = {}
        waiting = list(run_ids)
        while waiting:
            for run_id in list(waiting):
                run = self.read(run_id)
                if run is not None:
                    found[run_id] = run
                    if is_whole(run):
                        waiting.remove(run_id)
                if time.monotonic() > deadline:
                    return found
            if waiting:
                time.sleep(min(_EVERY_S, max(deadline - time.monotonic(), 0.0)))
        return found


def _known(function: Callable[..., Any], **given: Any) -> dict[str, Any]:
    """Return the arguments that this version of the client accepts."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in given.items() if name in names and value is not None}


def attachment_of(run: Any, name: str) -> tuple[bool, bytes | None, str]:
    """Return whether a run has an attachment, its bytes, and why they cannot be downloaded."""
    attachments = getattr(run, "attachments", None) or {}
    if name not in attachments:
        return False, None, ""
    reader = attachments[name]["reader"]
    try:
        reader.seek(0)
        data: bytes = reader.read()
    except Exception as error:  # noqa: BLE001 - the reader may raise any error of the download
        return True, None, told(error)
    return True, data, ""


def told(error: Exception) -> str:
    """Describe an error of the client in one line."""
    text = " ".join(str(error).split())
    if "redirects" in text:
        return "the answer was a redirect, which is not followed with a key"
    if "JSON" in type(error).__name__ or "Expecting value" in text:
        return "the answer is no JSON"
    return f"{type(error).__name__}: {text[:160]}"
