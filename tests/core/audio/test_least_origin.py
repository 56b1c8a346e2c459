"""The least origin of a window, against the slow way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.least_origin import LeastOrigin


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=40), st.data())
def test_it_is_the_minimum_of_a_frame_and_all_later_ones(
    origins: list[int], data: st.DataObject
) -> None:
    """After any number of the oldest have been dropped."""
    least = LeastOrigin()
    for number, origin in enumerate(origins):
        assert least.add(number, origin) == (origin == min(origins[: number + 1]))
    dropped = data.draw(st.integers(0, len(origins) - 1))
    for number in range(dropped):
        least.drop(number)
    assert min(origins[dropped:]) == least.ns
    for number in range(dropped, len(origins)):
        assert min(origins[number:]) == least.since(number)
    limit = data.draw(st.integers(-60, 60))
    below = [number for number in range(dropped, len(origins)) if origins[number] < limit]
    assert (below[-1] if below else -1) == least.last_below(limit)
