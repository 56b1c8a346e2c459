"""A recording driven step by step."""

from __future__ import annotations

from tests.support.taps import call

__all__ = ["call"]
