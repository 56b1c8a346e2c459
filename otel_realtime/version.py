"""The package's version: here, because to read it from the metadata takes longer than to import this package's door."""

from __future__ import annotations

VERSION = "0.1.0"  # no annotation: the build reads this line
