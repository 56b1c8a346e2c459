"""The questions, and the README's list of what is not verified."""

from __future__ import annotations

import re

from otel_realtime.doctor.live.questions import QUESTIONS, Answer
from tests.support.readme import README


def test_the_readme_lists_each_of_them() -> None:
    """Under the same ids, in the same order."""
    section = README.split("<!-- unverified -->")[1].split("<!-- /unverified -->")[0]
    assert [question.id for question in QUESTIONS] == re.findall(
        r"^\| `([\w-]+)` \|", section, re.M
    )


def test_an_answer_as_json() -> None:
    """What a script needs to tell a bad answer from one that does not matter."""
    value = Answer(QUESTIONS[0], "no", "it was not there").as_json()
    assert ("visible", "no", "it was not there", True) == (
        value["id"],
        value["answer"],
        value["why"],
        value["needed"],
    )
