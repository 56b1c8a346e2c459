"""The real programs that tests run, or why a test cannot run here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.binaries import Binary

MISSING: Final = (
    "a real program is missing here: `make collector-binaries` builds those of the fast suite"
    " (Go 1.26, 7 minutes), `make platform-binaries` those of `make test-platform`"
)


def program(binary: Binary) -> Path:
    """Return the program's path; without it the test is skipped, in CI it fails."""
    found = binary.find()
    if found is None and os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(MISSING, pytrace=False)
    if found is None:
        pytest.skip(MISSING)
    return found
