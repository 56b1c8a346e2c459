"""The package's version, read from its metadata once."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _read() -> str:
    try:
        return version("otel-realtime")
    except PackageNotFoundError:
        return "0.0.0"


VERSION: Final = _read()
