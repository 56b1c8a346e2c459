"""What is used of the bound: counted while it is written, measured near the bound, never exceeded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otel_realtime.state.owner import CONVERSATIONS
from otel_realtime.state.quota import SOUND, Quota, quota_for, quota_of


def test_without_a_bound_nothing_is_refused(tmp_path: Path) -> None:
    """A folder that lies in no state directory has none."""
    quota = quota_for(tmp_path / "call")
    assert quota.take(10**15)
    with quota.reserved(10**15, keep=tmp_path):
        assert not quota.exceeded
    assert quota_of(tmp_path) is quota_for(tmp_path / CONVERSATIONS / "call")


def test_what_is_written_counts(tmp_path: Path) -> None:
    """Sound leaves a rest to journals and spans."""
    quota = Quota()
    quota.limit(1600)
    quota.measured(400)
    assert [True, False, True] == [
        quota.take(1100, SOUND),
        quota.take(1, SOUND),
        quota.take(100),
    ]
    assert not quota.take(1)
    assert not quota.exceeded
    quota.measured(1601)
    assert quota.exceeded


def test_near_the_bound_older_data_makes_room(tmp_path: Path) -> None:
    """It is measured again, but not for each write."""
    quota, asked = Quota(), []

    def make_room(needed: int, keep: Path | None) -> None:
        asked.append((needed, keep))
        quota.measured(200)

    quota.limit(1600, make_room)
    quota.measured(1600)
    assert quota.take(100, SOUND)
    assert [(200, None)] == asked
    quota.measured(1600)
    assert not quota.take(100, SOUND)
    assert 1 == len(asked)


def test_a_file_that_is_being_written_counts_from_its_beginning(tmp_path: Path) -> None:
    """Two of them cannot both think that there is room; one that fails gives its room back."""
    quota, asked = Quota(), []
    quota.limit(1000, lambda needed, keep: asked.append((needed, keep)))
    with quota.reserved(600, keep=tmp_path):
        with pytest.raises(OSError, match="state_max_mb"), quota.reserved(600, keep=tmp_path):
            pytest.fail("there is no room")
        assert [(1200, tmp_path)] == asked
        assert not quota.take(401)
        assert quota.take(100)
    assert not quota.take(301)
    with pytest.raises(RuntimeError), quota.reserved(300, keep=tmp_path):
        raise RuntimeError
    assert quota.take(300)


def test_a_forked_child_counts_for_itself(tmp_path: Path) -> None:
    """Whatever another thread of the parent was doing."""
    quota = quota_of(tmp_path)
    quota.limit(1000)
    quota.measured(1000)
    quota._lock.acquire()
    child = os.fork()
    if not child:
        os._exit(0 if quota.take(1) else 1)
    quota._lock.release()
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert not quota.take(1)
