"""The arguments of ``redact_audio()``: what can be understood is silenced, one line says the rest."""

from __future__ import annotations

import logging
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from otel_realtime.conversation.redacting import MAX_MS, read_stretch
from otel_realtime.core.audio.redactions import Stretch

MS = 1_000_000
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 1, (0, MS)),
        (0.5, 1.25, (500_000, 1_250_000)),
        (np.int64(5), np.float32(7), (5 * MS, 7 * MS)),
        (Fraction(1, 2), 1, (500_000, MS)),
        (5_000, INF, (5_000 * MS, int(MAX_MS) * MS)),
        (5_000, 10**400, (5_000 * MS, int(MAX_MS) * MS)),
    ],
)
def test_good_ones_say_nothing(
    start: Any, end: Any, expected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Numbers of any kind, in ms."""
    assert Stretch(*expected) == read_stretch(start, end, None, "silence")
    assert [] == caplog.messages


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 5), (7.5, 7.5), (-3, -3), (-3, 0)])
def test_an_empty_one_is_none(start: float, end: float) -> None:
    """Nothing to silence."""
    assert read_stretch(start, end, None, "silence") is None


@pytest.mark.parametrize(
    ("start", "end", "line"),
    [
        (NAN, 5, "start_ms is no number of milliseconds but nan"),
        (0, NAN, "end_ms is no number of milliseconds but nan"),
        ("100", 500, "start_ms is no number of milliseconds but of type str"),
        (0, None, "end_ms is no number of milliseconds but None"),
        (True, 500, "start_ms is no number of milliseconds but of type bool"),
        (Decimal(1), 500, "start_ms is no number of milliseconds but of type Decimal"),
        ([], {}, "start_ms is no number of milliseconds but of type list"),
        (500, 100, "there is no stretch from 500 ms to 100 ms"),
        (-500, -100, "there is no stretch from -500 ms to -100 ms"),
        (INF, 5, "there is no stretch from inf ms to 5 ms"),
    ],
)
def test_nonsense_is_refused_in_one_line(
    start: Any, end: Any, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it comes."""
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert read_stretch(start, end, None, "silence") is None
    assert [f"redact_audio(): ignored: {line}"] == caplog.messages


@pytest.mark.parametrize(
    ("arguments", "expected", "line"),
    [
        ((-200, 300, None, "silence"), Stretch(0, 300 * MS), "-200 ms is no place"),
        ((0, 300, "caller", "silence"), Stretch(0, 300 * MS), "both are silenced"),
        ((0, 300, 3, "silence"), Stretch(0, 300 * MS), "both are silenced"),
        ((0, 300, "user", "bleep"), Stretch(0, 300 * MS, "user"), "it is silenced"),
        ((0, 300, "user", ["beep"]), Stretch(0, 300 * MS, "user"), "it is silenced"),
    ],
)
def test_what_can_be_understood_is_silenced(
    arguments: Any, expected: Stretch, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Too much rather than too little, and one line."""
    with caplog.at_level(logging.WARNING):
        assert expected == read_stretch(*arguments)
    (said,) = caplog.messages
    assert line in said
