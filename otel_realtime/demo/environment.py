"""The demo's environment variables: its own destination, whatever the user's shell says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from otel_realtime.langsmith.config import is_langsmith_host

PROJECT: Final = "otel-realtime-demo"
USERS_LANGSMITH: Final = ("LANGSMITH_", "LANGCHAIN_")
"""Variables that would send to, or change what is sent to, the user's own LangSmith."""
IN_THE_WAY: Final = (
    "OTEL_REALTIME_",
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_SAMPLER",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
)
"""Variables that could leave out what the demo is there to show."""


@contextmanager
def environment(folder: Path, sandbox_url: str | None) -> Iterator[None]:
    """Set the variables for one demo and put the old ones back afterwards.

    Args:
        folder: where recordings and state go.
        sandbox_url: LangSmith's stand-in; None leaves the user's own LangSmith set up.
    """
    before = dict(os.environ)
    try:
        _set(folder, sandbox_url)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _set(folder: Path, sandbox_url: str | None) -> None:
    drop = IN_THE_WAY if sandbox_url is None else IN_THE_WAY + USERS_LANGSMITH
    for name in list(os.environ):
        if name.startswith(drop) or (sandbox_url is not None and _leads_to_langsmith(name)):
            del os.environ[name]
    os.environ["OTEL_REALTIME_LANGSMITH"] = "direct"
    os.environ["OTEL_REALTIME_STATE_DIR"] = str(folder / "state")
    os.environ["OTEL_REALTIME_RECORDINGS_DIR"] = str(folder / "recordings")
    os.environ["LANGSMITH_TRACING"] = "true"
    if sandbox_url is not None:
        os.environ["LANGSMITH_ENDPOINT"] = sandbox_url
        os.environ["LANGSMITH_API_KEY"] = "sandbox"
        os.environ["LANGSMITH_PROJECT"] = PROJECT


def _leads_to_langsmith(name: str) -> bool:
    """An OTLP endpoint on LangSmith's hosts, or of a self-hosted one (its path has ``otel``)."""
    if not (name.startswith("OTEL_EXPORTER_OTLP") and name.endswith("ENDPOINT")):
        return False
    url = os.environ[name]
    return is_langsmith_host(url) or "otel" in urlsplit(url).path.split("/")
