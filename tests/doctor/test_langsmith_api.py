"""LangSmith's address and key: by the sandbox, and by servers that behave in each possible way."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from otel_realtime.doctor.langsmith_api import look
from otel_realtime.doctor.model import Result
from otel_realtime.sandbox import Sandbox
from tests.support.doctor import SECRET_KEY, Asked, Reply, Web, by_id, here, page
from tests.support.processes import free_ports

TENANT = "11111111-1111-4111-8111-111111111111"


def langsmith(asked: Asked) -> Reply:
    """A LangSmith that has the project ``calls``."""
    if asked.path.endswith("/info"):
        return Reply(body=json.dumps({"version": "0.9"}))
    if "/sessions" in asked.path:
        return Reply(body=json.dumps([{"id": "p", "name": "calls", "tenant_id": TENANT}]))
    return Reply(200, b"", {"Content-Type": "application/x-protobuf"})


def only(path: str, reply: Reply) -> Callable[[Asked], Reply]:
    """A LangSmith that answers one path in another way."""
    return lambda asked: reply if path in asked.path else langsmith(asked)


@pytest.fixture
def found(process: pytest.MonkeyPatch) -> Callable[..., dict[str, Result]]:
    """Looks at a server with a key."""

    def look_at(answer: Callable[[Asked], Reply] | str, **more: str) -> dict[str, Result]:
        process.setenv("LANGSMITH_TRACING", "true")
        process.setenv("LANGSMITH_API_KEY", SECRET_KEY)
        process.setenv("LANGSMITH_PROJECT", "calls")
        for name, value in more.items():
            process.setenv(name, value)
        if isinstance(answer, str):
            process.setenv("LANGSMITH_ENDPOINT", answer)
            return by_id(look(here(3.0)))
        with Web(answer) as web:
            process.setenv("LANGSMITH_ENDPOINT", web.url)
            return by_id(look(here(3.0)))

    return look_at


Find = Callable[..., dict[str, Result]]


def test_one_that_works(found: Find) -> None:
    """Version, project and workspace are said."""
    results = found(langsmith)
    assert {"ok"} == {result.status for result in results.values()}
    assert results["langsmith.api"].seen.endswith("answers, version 0.9")
    assert "'calls' exists" == results["langsmith.project"].seen
    assert TENANT == results["langsmith.workspace"].seen
    assert "takes requests" == results["langsmith.otlp"].seen
    assert "clock.langsmith" in results


def test_the_sandbox_works(sandbox: Sandbox) -> None:
    """With any key."""
    assert {"ok", "info"} == {result.status for result in look(here())}
    assert [] == sandbox.violations()
    assert [] == sandbox.conversations()


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused(found: Find, status: int) -> None:
    """The fix names the variables; the key that the server sends back is masked later."""
    results = found(only("/sessions", Reply(status, "no")))
    assert ("fail", f"refused: HTTP {status}, no") == (
        results["langsmith.key"].status,
        results["langsmith.key"].seen,
    )
    assert results["langsmith.key"].fix.startswith("check LANGSMITH_API_KEY, and LANGSMITH_WORKSP")


def test_a_key_that_may_read_and_not_write(found: Find) -> None:
    """The endpoint of spans says so."""
    results = found(only("/otel", Reply(403, "read only")))
    assert "ok" == results["langsmith.key"].status
    assert "fail" == results["langsmith.otlp"].status


def test_a_web_site_in_the_api_s_place(found: Find) -> None:
    """``https://smith.langchain.com`` is one."""
    results = found(lambda _: page())
    assert ["langsmith.api"] == list(results)
    assert "fail" == results["langsmith.api"].status
    assert "is that of a web site, not of the API" in results["langsmith.api"].fix


def test_a_redirect(found: Find) -> None:
    """It is not followed with the key."""
    results = found(lambda _: Reply(301, headers={"Location": "https://elsewhere/"}))
    assert "redirect to https://elsewhere/" in results["langsmith.api"].seen
    assert "no redirect is followed with a key" in results["langsmith.api"].fix


def test_a_404(found: Find) -> None:
    """A self-hosted one has its API at ``/api/v1``."""
    results = found(lambda _: Reply(404, "nothing here"))
    assert "fail" == results["langsmith.api"].status
    assert "/api/v1" in results["langsmith.api"].fix


def test_json_that_is_not_langsmith_s(found: Find) -> None:
    """It is somebody else's API."""
    results = found(lambda _: Reply(body="[1]"))
    assert "warn" == results["langsmith.api"].status


@pytest.mark.parametrize(
    ("answer", "seen"),
    [(Reply(503, "later"), "HTTP 503, later"), (Reply(reset=True), "the server")],
    ids=["503", "reset"],
)
def test_one_that_is_ill(found: Find, answer: Reply, seen: str) -> None:
    """What is on disk waits."""
    result = found(lambda _: answer)["langsmith.api"]
    assert "fail" == result.status
    assert seen in result.seen
    assert "conversations wait under state_dir" in result.effect


def test_one_that_is_slow(found: Find) -> None:
    """It is left after a third of the time."""
    assert "no answer within" in found(lambda _: Reply(wait_s=5))["langsmith.api"].seen


def test_one_that_is_away(found: Find) -> None:
    """Nothing listens."""
    (port,) = free_ports(1)
    result = found(f"http://127.0.0.1:{port}")["langsmith.api"]
    assert ("fail", True) == (result.status, "connection refused" in result.seen)


def test_a_project_that_does_not_exist_yet(found: Find) -> None:
    """Any other says which workspace the key is of."""
    other = json.dumps([{"id": "p", "name": "other", "tenant_id": TENANT}])

    def answer(asked: Asked) -> Reply:
        if "name=" in asked.path:
            return Reply(body="[]")
        return Reply(body=other) if "/sessions" in asked.path else langsmith(asked)

    results = found(answer)
    assert "'calls' does not exist yet" == results["langsmith.project"].seen
    assert TENANT == results["langsmith.workspace"].seen


def test_another_workspace_than_the_one_that_is_named(found: Find) -> None:
    """Runs would go to the key's own."""
    result = found(langsmith, LANGSMITH_WORKSPACE_ID="2222")["langsmith.workspace"]
    assert ("warn", True) == (result.status, "not 2222" in result.seen)


def test_without_a_key_nothing_is_asked(process: pytest.MonkeyPatch) -> None:
    """Nor where LangSmith is off."""
    with Web(langsmith) as web:
        process.setenv("LANGSMITH_ENDPOINT", web.url)
        assert "not used by this process: no API key" == by_id(look(here()))["langsmith.api"].seen
        process.setenv("LANGSMITH_API_KEY", SECRET_KEY)
        process.setenv("LANGSMITH_TRACING", "false")
        assert (
            "not used by this process: not asked for" == by_id(look(here()))["langsmith.api"].seen
        )
        assert [] == web.asked


def test_spans_that_go_by_a_collector_are_not_tried(found: Find) -> None:
    """Only the root is ours to deliver."""
    assert "langsmith.otlp" not in found(langsmith, OTEL_REALTIME_LANGSMITH="collector")
