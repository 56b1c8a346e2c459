"""Ids of projects: looked up once, in the background, and given up after a few attempts."""

from __future__ import annotations

import threading

from otel_realtime import diagnostics
from otel_realtime.langsmith.projects import TRIES, Projects
from otel_realtime.langsmith.statuses import Backoff
from tests.support.provoked import provoked
from tests.support.waiting import wait_for

QUICK = Backoff(first_s=0.001, ceiling_s=0.001)
AGENT = "lrn:agents/voice/environments/production"


def test_a_project_is_looked_up_once() -> None:
    """However often it is asked for; an agent's never, because only LangSmith knows it."""
    asked: list[str] = []

    def find(name: str) -> tuple[str, str]:
        asked.append(name)
        return "tenant", name

    projects = Projects(find, QUICK)
    for name in ("a", "a", AGENT, "b"):
        projects.look_up(name)
    wait_for(lambda: projects.get("b") is not None, "the second project")
    assert (["a", "b"], ("tenant", "a"), None) == (asked, projects.get("a"), projects.get(AGENT))
    projects.stop(1)


def test_a_project_that_does_not_exist_is_given_up() -> None:
    """The next conversation asks again."""
    asked: list[str] = []
    projects = Projects(lambda name: asked.append(name), QUICK)  # type: ignore[func-returns-value]
    for round_ in (1, 2):
        projects.look_up("a")
        wait_for(lambda: "a" not in projects._ids, "the end of the attempts")
        assert TRIES * round_ == len(asked)
    projects.stop(1)


def test_a_look_up_that_raised_is_given_up() -> None:
    """The next conversation asks again."""

    def find(name: str) -> tuple[str, str]:
        if not diagnostics.faults():
            raise RuntimeError("no answer that anybody knows")
        return "tenant", name

    projects = Projects(find, QUICK)
    projects.look_up("a")
    wait_for(lambda: "a" not in projects._ids, "the end of the attempt")
    projects.look_up("a")
    wait_for(lambda: projects.get("a") == ("tenant", "a"), "the next look-up")
    projects.stop(1)
    provoked("otel-realtime-projects: RuntimeError")


def test_a_forked_child_asks_for_itself() -> None:
    """Even while a look-up of the parent goes on."""
    go_on = threading.Event()
    projects = Projects(lambda name: ("t", name) if go_on.wait(5) else None, QUICK)
    projects.look_up("a")
    projects.reset_after_fork()
    go_on.set()
    projects.look_up("a")
    wait_for(lambda: projects.get("a") == ("t", "a"), "the child's look-up")
    projects.stop(1)
