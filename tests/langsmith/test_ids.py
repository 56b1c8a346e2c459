from __future__ import annotations

from otel_realtime.langsmith.ids import dotted_order, iso_time, run_id


def test_run_id_is_the_span_id_padded_with_zeros() -> None:
    """LangSmith's documented example holds."""
    assert run_id(0x00F067AA0BA902B7) == "00000000-0000-0000-00f0-67aa0ba902b7"


def test_dotted_order_cuts_to_microseconds() -> None:
    """Nanoseconds are truncated, never rounded, and no float loses digits."""
    assert dotted_order(1_793_356_200_123_456_999, "id") == "20261030T103000123456Zid"


def test_dotted_order_joins_the_parent() -> None:
    """A child's order is the parent's, a dot, and its own."""
    assert dotted_order(1_999, "b", "20260101T000000000000Za") == (
        "20260101T000000000000Za.19700101T000000000001Zb"
    )


def test_iso_time_keeps_six_digits() -> None:
    """The runs API gets microseconds with an offset, zeros included."""
    assert iso_time(1_793_356_200_000_000_000) == "2026-10-30T10:30:00.000000+00:00"
