"""The package's version. It is a constant because reading package metadata is slower than this import."""

from __future__ import annotations

VERSION = "0.1.0"  # no annotation: the build reads this line
