"""When the client asked for an item of its user's."""

from __future__ import annotations

import pytest

from otel_realtime.core.audio.commits import COMMIT_EMPTY
from otel_realtime.core.protocol.commits import MOST_OPEN, SentCommits


def commits(*named: str | None) -> SentCommits:
    """Commits that were sent at 1, 2, ... ns."""
    made = SentCommits()
    for t, event_id in enumerate(named, 1):
        made.sent(event_id, t)
    return made


def test_the_server_answers_in_order() -> None:
    """And makes items by itself as well."""
    made = commits(None, "b")
    assert [1, 2, None] == [made.committed() for _ in range(3)]


@pytest.mark.parametrize(
    ("event_id", "code", "left"),
    [
        ("b", "whatever", [1, 3]),
        (None, COMMIT_EMPTY, [2, 3]),
        ("b", COMMIT_EMPTY, [1, 3]),
        ("z", "whatever", [1, 2, 3]),
        (None, None, [1, 2, 3]),
    ],
)
def test_a_refused_commit_makes_no_item(
    event_id: str | None, code: str | None, left: list[int]
) -> None:
    """The error names it, or says that the buffer was empty: then it was the oldest."""
    made = commits("a", "b", "c")
    made.refused(event_id, code)
    assert left == [made.committed() for _ in left]


def test_a_new_session_knows_none() -> None:
    """What was open at a reconnect is never answered."""
    made = commits("a")
    made.reset()
    assert made.committed() is None


def test_commits_without_an_answer_do_not_pile_up() -> None:
    """Only the latest are kept."""
    made = commits(*[None] * (MOST_OPEN + 5))
    assert 6 == made.committed()
