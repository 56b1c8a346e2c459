"""The arguments of ``redact_audio()``: what can be understood is silenced, the log says the rest."""

from __future__ import annotations

import logging
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from otel_realtime.conversation.arguments import Refused
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
        (Decimal("0.5"), "1", (500_000, MS)),
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
    ("start", "end", "problem"),
    [
        (NAN, 5, "start_ms is not finite"),
        (INF, 5, "start_ms is not finite"),
        (0, NAN, "end_ms is not finite"),
        (0, -INF, "end_ms is not finite"),
        ("now", 500, "start_ms is of type str"),
        (0, None, "end_ms is of type NoneType"),
        (True, 500, "start_ms is of type bool"),
        ([], {}, "start_ms is of type list"),
        (500, 100, "start_ms is later than end_ms"),
        (-500, -100, "end_ms is negative"),
    ],
)
def test_nonsense_is_refused(start: Any, end: Any, problem: str) -> None:
    """In a line that names the argument."""
    with pytest.raises(Refused, match=problem):
        read_stretch(start, end, None, "silence")


@pytest.mark.parametrize(
    ("arguments", "expected", "line"),
    [
        ((-200, 300, None, "silence"), Stretch(0, 300 * MS), "from the start of the recording"),
        ((0, 300, "caller", "silence"), Stretch(0, 300 * MS), "both sides are silenced"),
        ((0, 300, 3, "silence"), Stretch(0, 300 * MS), "both sides are silenced"),
        ((0, 300, "user", "bleep"), Stretch(0, 300 * MS, "user"), "it is silenced"),
        ((0, 300, "user", ["beep"]), Stretch(0, 300 * MS, "user"), "it is silenced"),
        ((0, 300, np.arange(3), np.arange(3)), Stretch(0, 300 * MS), "both sides are silenced"),
    ],
)
def test_what_can_be_understood_is_silenced(
    arguments: Any, expected: Stretch, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Too much rather than too little, and said once."""
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert expected == read_stretch(*arguments)
    assert 1 == sum(line in message for message in caplog.messages)
    assert all(message.startswith("redact_audio(): ") for message in caplog.messages)
