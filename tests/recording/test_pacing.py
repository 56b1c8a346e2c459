"""Background work in slices, with a rest after each."""

from __future__ import annotations

import time

from otel_realtime.recording.pacing import REST_S, Pacer
from tests.support.waiting import wait_for


def test_a_slice_is_used_up_after_a_while() -> None:
    """And a rest begins a new one."""
    pacer = Pacer()
    wait_for(pacer.due, "end of the slice", every_s=0)
    began = time.perf_counter()
    pacer.rest()
    assert time.perf_counter() - began >= REST_S
    pacer._end += 60  # however slow this machine is just now
    assert not pacer.due()


def test_a_step_rests_only_when_it_is_time() -> None:
    """Not after each piece of work."""
    pacer = Pacer()
    pacer._end = early = time.perf_counter() + 60
    pacer.step()
    assert early == pacer._end
    pacer._end = late = time.perf_counter() - 60
    pacer.step()
    assert late + 60 < pacer._end < early
