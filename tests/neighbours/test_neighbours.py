"""Neighbours whose environments are made (``python -m tests.neighbours``), and what is asked of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.matrix.environments import made
from tests.neighbours.judge import problems
from tests.neighbours.run import found
from tests.neighbours.table import NEIGHBOURS, Neighbour

MADE = [one for one in NEIGHBOURS if made(one.place) is not None]


@pytest.mark.parametrize("neighbour", MADE, ids=lambda one: one.name)
def test_a_neighbour_and_we_are_as_if_alone(neighbour: Neighbour) -> None:
    """In both orders of set-up."""
    python = made(neighbour.place)
    assert python is not None
    assert [] == found(neighbour, python)


def test_the_app_runs_here_as_well() -> None:
    """With nobody beside us, in the environment of the tests: so the app itself is never broken."""
    alone = Neighbour(name="uvloop", set_up="")
    assert [] == found(alone, Path(sys.executable), modes=("ours",))


def test_every_neighbour_has_a_name_of_its_own() -> None:
    """It is the name of its environment, too."""
    names = [one.name for one in NEIGHBOURS]
    assert len(names) == len(set(names))


def span(scope: str, name: str, parent: str | None = None, trace: int = 1, **tags: str) -> Any:
    """One span as the app tells it."""
    return {"scope": scope, "name": name, "parent": parent, "trace": trace, "tags": tags}


def run(*spans: Any, **changes: Any) -> Any:
    """One run in which nothing went wrong."""
    return {"spans": list(spans), "complaints": [], "faults": {}, "delivered": True, **changes}


ROOT, PAGE = span("otel_realtime", "realtime_session"), span("requests", "GET", url="http://a:1/x")
GOOD = {
    "ours": run(ROOT),
    "theirs": run(PAGE),
    "theirs-first": run(ROOT, PAGE),
    "ours-first": run(PAGE, ROOT),
}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"ours-first": run(PAGE, ROOT, faults={"x": 1})}, "faults of ours"),
        ({"ours-first": run(PAGE, ROOT, delivered=False)}, "not everything was delivered"),
        ({"ours-first": run(PAGE, ROOT, complaints=["no"])}, "said"),
        ({"ours-first": run(PAGE)}, "0 traces of ours"),
        ({"ours-first": run(PAGE, ROOT, span("otel_realtime", "x"))}, "our spans differ"),
        (
            {"ours-first": run(PAGE, span("otel_realtime", "realtime_session", a="b"))},
            "our attributes differ",
        ),
        ({"ours-first": run(ROOT)}, "their spans differ"),
        (
            {"ours-first": run(ROOT, PAGE, span("requests", "POST", url="http://ls:2/runs"))},
            "a delivery of ours is traced",
        ),
    ],
)
def test_the_judge_finds_it(changed: dict[str, Any], said: str | None) -> None:
    """Each thing that may go wrong."""
    told = list(problems({**GOOD, **changed}, "ls:2"))
    assert (said is None) == (not told)
    assert said is None or any(said in text for text in told)
