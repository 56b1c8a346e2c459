"""Defects of ours that a test provokes, where any other one fails it."""

from __future__ import annotations

from otel_realtime import diagnostics


def provoked(*kinds: str) -> None:
    """These and no others were reported; they are forgotten now."""
    assert set(kinds) == diagnostics.faults().keys()
    diagnostics.REGISTER.clear()
