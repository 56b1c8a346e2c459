"""Requests as every delivery makes them: bounded answers, and nothing that nobody asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_realtime.langsmith.http import Answer, Body, Http
from otel_realtime.langsmith.statuses import NO_ANSWER, UNUSABLE, Verdict, judge
from tests.support.langsmith_server import LangSmithServer, Reply

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def http() -> Http:
    """A client that waits for nothing long."""
    return Http(1.0)


def post(http: Http, url: str, body: bytes = b"{}") -> Answer:
    """One request."""
    return http.post(url + "/otel/v1/traces", JSON, lambda: Body(body))


def test_an_answer_in_one_line(server: LangSmithServer, http: Http) -> None:
    """Status, what it means, and the first words of what was said."""
    server.script(Reply(422, "not\n  \n this " + "x" * 5_000))
    answer = post(http, server.url)
    assert (422, judge(422), 200) == (answer.status, answer.ruling, len(answer.text))
    assert str(answer).startswith("HTTP 422, invalid: not this xxx")
    assert "no answer, no answer" == str(Answer(None, "", None, NO_ANSWER))


def test_how_long_the_server_asks_to_wait(server: LangSmithServer, http: Http) -> None:
    """In seconds, if it says so."""
    server.script(Reply(429, headers={"Retry-After": "7"}), 429)
    assert [7.0, None] == [post(http, server.url).retry_after_s for _ in range(2)]


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_is_an_answer(server: LangSmithServer, http: Http, status: int) -> None:
    """It is not followed: the key would go elsewhere, or the body away."""
    server.script(Reply(status, headers={"Location": server.url + "/elsewhere"}))
    assert Verdict.DROP is post(http, server.url).ruling.verdict
    assert 1 == len(server.requests)


def test_passwords_of_a_netrc_are_not_sent(
    server: LangSmithServer, http: Http, process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are the user's for something else."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    process.setenv("NETRC", str(tmp_path / "netrc"))
    post(http, server.url)
    http.get_json(server.url + "/sessions?name=voice", {}, {})
    assert [False, False] == ["authorization" in one.headers for one in server.requests]


def test_what_is_no_answer_is_tried_again(server: LangSmithServer, http: Http) -> None:
    """Nobody there, a connection that breaks off, a server that says nothing."""
    assert (None, NO_ANSWER) == (post(http, "http://127.0.0.1:9").status, NO_ANSWER)
    server.script(Reply(cut_after=1))
    broken = post(http, server.url, b"x" * 100_000)
    assert (None, NO_ANSWER) == (broken.status, broken.ruling)


@pytest.mark.parametrize("url", ["api.example", "http://", "ftp://127.0.0.1"])
def test_an_address_that_is_none_is_never_tried_again(http: Http, url: str) -> None:
    """What the HTTP client says of it may hold the key, so only its kind is told."""
    answer = post(http, url)
    assert (None, UNUSABLE) == (answer.status, answer.ruling)
    assert " " not in answer.text


def test_a_body_is_made_anew_for_each_try(server: LangSmithServer, http: Http) -> None:
    """And whatever making it raises is the caller's."""
    bodies = iter([Body(b"one"), Body(b"two")])
    for _ in range(2):
        http.post(server.url + "/otel/v1/traces", JSON, lambda: next(bodies))
    assert [b"one", b"two"] == [one.body for one in server.requests]

    def fails() -> Body:
        raise KeyError("no body")

    with pytest.raises(KeyError):
        http.post(server.url, JSON, fails)


def test_json_that_is_none(server: LangSmithServer, http: Http) -> None:
    """Whatever comes instead of it, or nobody at all."""
    answers = {"[1]": [1], "no json": None, "": None, '"' + "x" * 2_000_000: None}
    for body, expected in answers.items():
        server.judge = lambda _, body=body: Reply(200, body)  # type: ignore[misc]
        assert expected == http.get_json(server.url, {}, {})
    server.judge = lambda _: Reply(500, "[1]")
    assert http.get_json(server.url, {}, {}) is None
    assert http.get_json("http://127.0.0.1:9", {}, {}) is None
