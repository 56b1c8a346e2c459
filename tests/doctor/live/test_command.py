"""``--live`` against the sandbox, and against servers that behave each possible way."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_realtime.doctor.live import command
from otel_realtime.doctor.live.questions import QUESTIONS
from otel_realtime.sandbox import Sandbox
from otel_realtime.state.owner import CONVERSATIONS
from tests.support.doctor import Asked, Reply, Web, here, page
from tests.support.isolation import KEY, PROJECT, langsmith_variables
from tests.support.langsmith_server import PROJECT as PROJECT_ID
from tests.support.langsmith_server import TENANT
from tests.support.langsmith_server import Request as Parsed

OTHER_PROJECT_ID = "33333333-3333-4333-8333-333333333333"
NEEDED = [question.id for question in QUESTIONS if question.needed]


class LangSmith:
    """A LangSmith in memory, with switches for each way in which it may behave otherwise.

    Attributes:
        patches: a patch changes the run.
        attaches: attachments are kept.
        holds: spans that come before their root's post are kept for it.
        shows_open: a run can be read before its end.
        moves: the dotted order of a span is made anew.
        header_wins: the header says which project a span is in.
        merges: metadata is merged.
        spans: spans become runs at all.
    """

    def __init__(self, **switches: bool) -> None:
        self.patches = self.attaches = self.holds = self.shows_open = self.spans = True
        self.moves = self.header_wins = self.merges = self.garbles = False
        for name, value in switches.items():
            assert hasattr(self, name)
            setattr(self, name, value)
        self.runs: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.special: Callable[[Asked], Reply | None] = lambda _: None
        self._lock = threading.Lock()
        self.url = ""

    def __call__(self, asked: Asked) -> Reply:
        special = self.special(asked)
        if special is not None:
            return special
        with self._lock:
            return self._answer(asked)

    def _answer(self, asked: Asked) -> Reply:
        path = asked.path.partition("?")[0]
        if path == "/info":
            return Reply(body='{"version": "0"}')
        if path == "/sessions":
            project = {"id": PROJECT_ID, "name": PROJECT, "tenant_id": TENANT}
            return Reply(body=json.dumps([project]))
        if path == "/runs/multipart":
            self._multipart(asked)
            return Reply(202)
        if path == "/otel/v1/traces":
            self._otlp(asked)
            return Reply(200, b"")
        if path.startswith("/files/"):
            return Reply(body=self.files[path.removeprefix("/files/")])
        run = self.runs.get(path.removeprefix("/runs/"))
        if run is None or not (self.shows_open or run.get("end_time")):
            return Reply(404, '{"detail": "Run not found"}')
        return Reply(body=json.dumps(run))

    def _multipart(self, asked: Asked) -> None:
        for part in Parsed(asked.method, asked.path, asked.headers, asked.body).parts():
            verb, run_id, *rest = part.name.split(".")
            if verb == "attachment":
                if self.attaches:
                    self.files[run_id] = part.body[: -2 if self.garbles else None]
                    link = {"presigned_url": f"{self.url}/files/{run_id}", "mime_type": "audio/wav"}
                    self.runs[run_id]["s3_urls"] = {f"attachment.{rest[0]}": link}
                continue
            if verb == "patch" and not self.patches:
                continue
            run = self.runs.setdefault(run_id, {"session_id": PROJECT_ID, "inputs": {}})
            if not rest:
                run.update(part.json)
            elif rest == ["extra"] and self.merges and "extra" in run:
                run["extra"]["metadata"].update(part.json["metadata"])
            else:
                run[rest[0]] = part.json

    def _otlp(self, asked: Asked) -> None:
        if not self.spans:
            return
        for span in Parsed(asked.method, asked.path, asked.headers, asked.body).spans():
            told = {pair.key: pair.value.string_value for pair in span.attributes}
            linked = {
                key.rpartition(".")[2]: v for key, v in told.items() if key.startswith("langsmith")
            }
            trace_id = told["langsmith.trace.id"]
            if trace_id not in self.runs and not self.holds:
                continue
            elsewhere = self.header_wins and asked.headers["langsmith-project"] != PROJECT
            run_id = told["langsmith.span.id"]
            dotted = told["langsmith.span.dotted_order"]
            self.runs[run_id] = {
                "id": run_id,
                "name": span.name,
                "run_type": "chain",
                "trace_id": trace_id,
                "parent_run_id": linked["parent_id"],
                "dotted_order": dotted.replace("Z", "0Z", 1) if self.moves else dotted,
                "session_id": OTHER_PROJECT_ID if elsewhere else PROJECT_ID,
                "start_time": "2026-01-01T00:00:00+00:00",
                "end_time": "2026-01-01T00:00:01+00:00",
                "inputs": {},
            }


def ask(process: pytest.MonkeyPatch, url: str, timeout_s: float = 3.0) -> command.Outcome:
    """Write to a server, and read it back."""
    for name, value in langsmith_variables(url).items():
        process.setenv(name, value)
    return command.run(here(), timeout_s=timeout_s, attachment_mb=0)


def answered(outcome: command.Outcome) -> dict[str, str]:
    """Answer by id."""
    return {one.question.id: one.text for one in outcome.answers}


def asked_of(
    process: pytest.MonkeyPatch, langsmith: LangSmith, timeout_s: float = 3.0
) -> command.Outcome:
    """Write to a LangSmith that behaves in some way."""
    with Web(langsmith) as web:
        langsmith.url = web.url
        return ask(process, web.url, timeout_s)


def test_the_sandbox_answers(process: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """All that a call needs; it objects to nothing but the metadata that is left out on purpose."""
    outcome = ask(process, sandbox.url, timeout_s=20)
    answers = answered(outcome)
    assert {"yes"} == {answers[id_] for id_ in NEEDED}, outcome.answers
    assert ("yes", "no", "unknown") == (
        answers["project-attribute"],
        answers["metadata-kept"],
        answers["attachment-size"],
    )
    assert outcome.complete
    assert ["metadata_lost"] == [one["kind"] for one in sandbox.violations()]
    (conversation,) = sandbox.conversations()
    assert outcome.run_id == conversation["id"]
    assert outcome.url is not None
    assert outcome.run_id in outcome.url


def test_no_file_stays(process: pytest.MonkeyPatch, sandbox: Sandbox, tmp_path: Path) -> None:
    """Neither of the recording nor in the state directory."""
    process.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    ask(process, sandbox.url, timeout_s=20)
    assert [] == list((tmp_path / "tmp").iterdir())
    assert not (tmp_path / "state" / CONVERSATIONS).exists()


def test_one_that_does_all(process: pytest.MonkeyPatch) -> None:
    """Each question that a tiny trace can settle."""
    answers = answered(asked_of(process, LangSmith(merges=True)))
    assert "unknown" == answers.pop("attachment-size")
    assert {"yes"} == set(answers.values()), answers


@pytest.mark.parametrize(
    ("switch", "noes"),
    [
        ({"patches": False}, {"patched"}),
        ({"attaches": False}, {"attachment"}),
        ({"garbles": True}, {"attachment"}),
        ({"holds": False}, {"early-children"}),
        ({"shows_open": False}, {"visible"}),
        ({"moves": True}, {"dotted-order"}),
        ({"header_wins": True}, {"project-attribute"}),
        ({"spans": False}, {"children", "early-children", "otlp-size"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_one_that_does_not(
    process: pytest.MonkeyPatch, switch: dict[str, bool], noes: set[str]
) -> None:
    """The answer is no to what it leaves undone, and to nothing else."""
    outcome = asked_of(process, LangSmith(merges=True, **switch))
    assert noes == {id_ for id_, text in answered(outcome).items() if text == "no"}, outcome.answers
    assert bool(noes - {"project-attribute"}) == (not outcome.complete)


def test_metadata_that_is_replaced(process: pytest.MonkeyPatch) -> None:
    """Nothing that a call needs: the patch repeats all metadata."""
    outcome = asked_of(process, LangSmith())
    assert "no" == answered(outcome)["metadata-kept"]
    assert outcome.complete


def test_a_larger_recording(process: pytest.MonkeyPatch) -> None:
    """As large as the settings allow, it settles the question."""
    process.setenv("OTEL_REALTIME_MAX_ATTACHMENT_MB", "2")
    langsmith = LangSmith()
    with Web(langsmith) as web:
        langsmith.url = web.url
        for name, value in langsmith_variables(web.url).items():
            process.setenv(name, value)
        outcome = command.run(here(), timeout_s=5, attachment_mb=2)
    assert "yes" == answered(outcome)["attachment-size"]


def special(path: str, reply: Reply, word: bytes = b"") -> Callable[[Asked], Reply | None]:
    """Answers one path in another way, if the body has a word."""
    return lambda asked: reply if path in asked.path and word in asked.body else None


@pytest.mark.parametrize(
    ("path", "word", "reply", "unknown", "why"),
    [
        ("/runs/multipart", b"", Reply(401, "no"), NEEDED, "HTTP 401, key refused"),
        ("/runs/multipart", b"", Reply(404), NEEDED, "HTTP 404"),
        ("/runs/multipart", b"", Reply(301, headers={"Location": "/x"}), NEEDED, "redirected"),
        ("/runs/multipart", b"", Reply(reset=True), NEEDED, "no answer"),
        ("/runs/multipart", b"", Reply(wait_s=2), NEEDED, "no answer"),
        ("/runs/multipart", b'"patch.', Reply(409), ["patched"], ""),
        ("/otel", b"", Reply(403), ["children", "early-children", "dotted-order"], "HTTP 403"),
        ("/otel", b"", Reply(500), ["children", "early-children", "dotted-order"], "HTTP 500"),
        ("/runs/0", b"", page(), NEEDED, "the answer is no JSON"),
        ("/runs/0", b"", Reply(302, headers={"Location": "/y"}), NEEDED, "a redirect"),
        ("/runs/0", b"", Reply(403), NEEDED, ""),
        ("/runs/0", b"", Reply(reset=True), NEEDED, ""),
        ("/runs/0", b"", Reply(wait_s=2), NEEDED, ""),
        ("/files", b"", Reply(404), ["attachment"], "cannot be downloaded"),
    ],
    ids=[
        "write-401", "write-404", "write-redirect", "write-reset", "write-slow", "patch-409",
        "spans-403", "spans-500", "read-page", "read-redirect", "read-403", "read-reset",
        "read-slow", "download-404",
    ],
)  # fmt: skip
def test_one_that_refuses(
    process: pytest.MonkeyPatch, path: str, word: bytes, reply: Reply, unknown: list[str], why: str
) -> None:
    """Nothing is answered with a no that only says that nobody could look."""
    langsmith = LangSmith()
    langsmith.special = special(path, reply, word)
    if reply.status == 409:  # taken for success, and the patch reaches nothing
        langsmith.patches = langsmith.attaches = False
        outcome = asked_of(process, langsmith)
        assert "no" == answered(outcome)["patched"]
        return
    outcome = asked_of(process, langsmith)
    told = {one.question.id: one for one in outcome.answers}
    assert {"unknown"} == {told[id_].text for id_ in unknown}, outcome.answers
    assert not outcome.complete
    assert why in told[unknown[-1]].why, told[unknown[-1]].why
    assert KEY not in repr(outcome)


def test_a_request_that_is_too_large(process: pytest.MonkeyPatch) -> None:
    """413 is a no, and says nothing about smaller ones."""
    langsmith = LangSmith()
    langsmith.special = lambda asked: (
        Reply(413, "too large") if "/otel" in asked.path and len(asked.body) > 3_000 else None
    )
    answers = answered(asked_of(process, langsmith))
    assert ("no", "yes") == (answers["otlp-size"], answers["children"])


def test_a_recording_that_is_too_large(process: pytest.MonkeyPatch) -> None:
    """The patch is not repeated without it: one trace settles what it can."""
    langsmith = LangSmith()
    langsmith.special = special("/runs/multipart", Reply(413), b"attachment.")
    answers = answered(asked_of(process, langsmith))
    assert ("no", "unknown") == (answers["attachment-size"], answers["patched"])


def test_the_key_is_not_taken_along_by_a_redirect(process: pytest.MonkeyPatch) -> None:
    """Not even by LangSmith's own client."""
    with Web(lambda _: Reply(200)) as elsewhere:
        langsmith = LangSmith()
        target = {"Location": elsewhere.url}
        langsmith.special = lambda asked: (
            Reply(302, headers=target) if asked.method == "GET" else None
        )
        asked_of(process, langsmith)
        assert [] == elsewhere.asked


def test_a_server_that_never_ends(process: pytest.MonkeyPatch) -> None:
    """The whole has its time, and then nothing is known."""
    process.setattr(command, "_GRACE_S", 0.1)
    langsmith = LangSmith()
    langsmith.special = lambda _: Reply(wait_s=1)
    outcome = asked_of(process, langsmith, timeout_s=0.5)
    assert {"unknown"} == set(answered(outcome).values())


@pytest.mark.parametrize(
    ("typed", "agreed"),
    [("y\n", True), ("yes\n", True), ("\n", False), ("", False), ("no\n", False)],
)
def test_it_asks_before(
    process: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, agreed: bool
) -> None:
    """And says what will be written, and where."""
    for name, value in langsmith_variables("http://127.0.0.1:9").items():
        process.setenv(name, value)
    process.setattr(sys, "stdin", io.StringIO(typed))
    assert agreed == command.agrees(here(), 0)
    told = capsys.readouterr()
    assert "" == told.out
    assert "http://127.0.0.1:9, project calls" in told.err
    assert "calls-doctor-header" in told.err
    assert "Nothing is deleted." in told.err


def test_the_answers_are_a_table(
    process: pytest.MonkeyPatch, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each, and where the trace is."""
    found = here()
    outcome = ask(process, sandbox.url, timeout_s=20)
    command.print_outcome(outcome, found.mask)
    lines = capsys.readouterr().out.splitlines()
    assert [question.id for question in QUESTIONS] == [line.split()[0] for line in lines[2:12]]
    assert lines[12].startswith("The trace stays where it is: http://")
    value = outcome.as_json(found.mask)
    assert len(QUESTIONS) == len(value["answers"])
