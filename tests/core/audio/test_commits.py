"""Which stretch of the input is which item."""

from __future__ import annotations

from otel_realtime.core.audio.commits import Commits


def test_each_commit_reaches_from_the_last_one() -> None:
    """The server names them in order; what was cleared belongs to none."""
    commits = Commits()
    commits.clear(5)
    commits.commit(10)
    commits.commit(30)
    commits.committed("a")
    commits.clear(40)
    commits.commit(50)
    for name in ("b", "c", "vad"):
        commits.committed(name)
    assert [(5, 10), (10, 30), (40, 50), None, None] == [
        commits.of(name) for name in ("a", "b", "c", "vad", "unknown")
    ]


def test_a_refused_commit_names_no_item() -> None:
    """The one after it does."""
    commits = Commits()
    commits.commit(0)
    commits.refuse()
    commits.commit(20)
    commits.committed("a")
    commits.refuse()
    assert (0, 20) == commits.of("a")


def test_a_new_session_has_an_empty_buffer() -> None:
    """What the old one did not answer is lost, and what it did not commit belongs to no item."""
    commits = Commits()
    commits.commit(10)
    commits.reset(15)
    commits.committed("a")
    assert commits.of("a") is None
    commits.commit(20)
    commits.committed("b")
    assert (15, 20) == commits.of("b")
