"""Sets the demo's environment variables: its own destination, regardless of the user's shell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from otel_realtime.langsmith.config import is_langsmith_host

PROJECT: Final = "otel-realtime-demo"
#: Prefixes of variables that would send to the user's own LangSmith, or change the data that is sent.
LANGSMITH_PREFIXES: Final = ("LANGSMITH_", "LANGCHAIN_")
#: Prefixes of variables that could suppress what the demo is meant to show.
CONFLICTING_PREFIXES: Final = (
    "OTEL_REALTIME_",
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_SAMPLER",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
)


@contextmanager
def environment(data_dir: Path, sandbox_url: str | None) -> Iterator[None]:
    """Set the variables for one demo and restore the previous ones afterwards.

    Args:
        data_dir: the directory for recordings and state.
        sandbox_url: the sandbox to send to; None keeps the user's own LangSmith configuration.
    """
    before = dict(os.environ)
    try:
        _set(data_dir, sandbox_url)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _set(data_dir: Path, sandbox_url: str | None) -> None:
    prefixes: tuple[str, ...] = CONFLICTING_PREFIXES
    if sandbox_url is not None:
        prefixes += LANGSMITH_PREFIXES
    for name in list(os.environ):
        if name.startswith(prefixes) or (sandbox_url is not None and _exports_to_langsmith(name)):
            del os.environ[name]
    os.environ["OTEL_REALTIME_LANGSMITH"] = "direct"
    os.environ["OTEL_REALTIME_STATE_DIR"] = str(data_dir / "state")
    os.environ["OTEL_REALTIME_RECORDINGS_DIR"] = str(data_dir / "recordings")
    os.environ["LANGSMITH_TRACING"] = "true"
    if sandbox_url is not None:
        os.environ["LANGSMITH_ENDPOINT"] = sandbox_url
        os.environ["LANGSMITH_API_KEY"] = "sandbox"
        os.environ["LANGSMITH_PROJECT"] = PROJECT


def _exports_to_langsmith(name: str) -> bool:
    """Return whether a variable is an OTLP endpoint of LangSmith."""
    if not (name.startswith("OTEL_EXPORTER_OTLP") and name.endswith("ENDPOINT")):
        return False
    url = os.environ[name]
    # A self-hosted LangSmith may have any host, but its OTLP path contains "otel":
    # https://docs.langchain.com/langsmith/trace-with-opentelemetry
    return is_langsmith_host(url) or "otel" in urlsplit(url).path.split("/")
