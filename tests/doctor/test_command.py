"""The command as a whole: exit codes, JSON, time, and that it changes and gives away nothing."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import langsmith
import pytest
from opentelemetry import trace

from otel_realtime import cli
from otel_realtime.doctor.checks import CHECKS
from otel_realtime.doctor.command import run
from otel_realtime.sandbox import Sandbox
from tests.support.doctor import SECRET_KEY, Asked, Reply, Web
from tests.support.isolation import langsmith_variables
from tests.support.processes import ROOT, clean_environment, free_ports


def report(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The JSON that was printed."""
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def statuses(value: dict[str, Any]) -> dict[str, str]:
    """Status by id."""
    return {one["id"]: one["status"] for one in value["results"]}


def test_ids_are_each_of_one_check() -> None:
    """A check that does not end is named by its own."""
    assert len(CHECKS) == len({check.id for check in CHECKS})


@pytest.mark.usefixtures("sandbox")
def test_all_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    """A key that is accepted, and everything else as it should be: 0."""
    assert 0 == run(timeout_s=100, as_json=True)
    value = report(capsys)
    assert "fail" not in statuses(value).values()
    assert value["verdict"].startswith(
        "A call started here would be traced and recorded, sent to Lan"
    )


def test_without_any_variable_nothing_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """The app may have exporters of its own; that there are none here is a warning."""
    assert 0 == run(timeout_s=100, as_json=True)
    value = report(capsys)
    assert "warn" == statuses(value)["delivery.nowhere"]
    assert "A call started here would be traced, and sent nowhere." == value["verdict"]


def test_something_would_be_lost(
    process: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Collector that is away: 1, and the last line says what."""
    (port,) = free_ports(1)
    process.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    assert 1 == run(timeout_s=100)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith(
        "something would be lost: OTLP, traces by http/protobuf, OTLP, metrics by http/protobuf."
    )


def test_the_total_time_holds(
    process: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However long a server takes."""
    with Web(lambda _: Reply(wait_s=20)) as web:
        for name, value in langsmith_variables(web.url).items():
            process.setenv(name, value)
        process.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", web.url)
        began = time.monotonic()
        assert 1 == run(timeout_s=2, as_json=True)
        assert time.monotonic() - began < 6
    assert {"langsmith.api", "otlp.traces"} <= statuses(report(capsys)).keys()


def test_no_time_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    """Each check says that it did not end, and nothing breaks."""
    assert run(timeout_s=0, as_json=True) in (0, 1)
    assert {"did not end within 0 s"} <= {one["seen"] for one in report(capsys)["results"]}


def everything(folder: Path) -> list[tuple[str, int, int]]:
    """Every file and folder, with size and time of change."""
    found = [folder, *sorted(folder.rglob("*"))]
    return [(str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in found]


def test_nothing_is_changed_or_started(
    sandbox: Sandbox, tmp_path: Path, process: pytest.MonkeyPatch
) -> None:
    """No file, no variable, no provider, no thread that stays, no run at LangSmith, no log handler."""
    for name in ("state", "home", "tmp"):
        (tmp_path / name).mkdir()
    process.setenv("HOME", str(tmp_path / "home"))
    process.setenv("TMPDIR", str(tmp_path / "tmp"))
    process.setattr("tempfile.tempdir", None)
    env, handlers = dict(os.environ), list(logging.root.handlers)
    before = everything(tmp_path / "state"), everything(tmp_path / "home")
    run(timeout_s=100, as_json=True)
    assert before == (everything(tmp_path / "state"), everything(tmp_path / "home"))
    assert [] == list((tmp_path / "tmp").iterdir())
    assert env == dict(os.environ)
    assert handlers == logging.root.handlers
    assert getattr(trace, "_TRACER_PROVIDER", None) is None
    assert [] == sandbox.conversations()
    assert not [one for one in threading.enumerate() if one.name.startswith("doctor")]


def started(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "otel_realtime", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env=clean_environment(**variables),
        stdin=subprocess.DEVNULL,
    )


def parrot(asked: Asked) -> Reply:
    """A server that sends back every header that it was sent, in a refusal."""
    return Reply(401, json.dumps(asked.headers))


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--live", "--yes", "--live-timeout", "5")])
def test_a_planted_secret_never_comes_out(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Neither from the environment nor from a server that sends it back, in any shape."""
    secrets = {name: f"{name}-{SECRET_KEY}" for name in ("key", "header", "user", "proxy", "odd")}
    with Web(parrot) as web:
        address = web.url.removeprefix("http://")
        done = started(
            *arguments,
            "--timeout",
            "30",
            LANGSMITH_TRACING="true",
            LANGSMITH_API_KEY=secrets["key"],
            LANGSMITH_ENDPOINT=f"http://name:{secrets['user']}@{address}",
            LANGSMITH_APIKEY=secrets["odd"],
            OTEL_REALTIME_SPAN_LIMIT="sk-proj-abcdefghijklmnopqrstuvwxyz0123",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://name:{secrets['user']}@{address}",
            OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer%20{secrets['header']}",
            FTP_PROXY=f"http://name:{secrets['proxy']}@localhost",
            OTEL_REALTIME_STATE_DIR=str(tmp_path / "state"),
        )
        assert web.asked
    assert 1 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    for text in (done.stdout, done.stderr):
        assert SECRET_KEY not in text
        assert "sk-proj-abcdef" not in text


def test_under_opentelemetry_instrument(tmp_path: Path) -> None:
    """The provider that it has set up is the one that is looked at."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from opentelemetry.instrumentation.auto_instrumentation import run; run()",
            *(sys.executable, "-m", "otel_realtime", "doctor", "--json", "--timeout", "60"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env=clean_environment(
            OTEL_TRACES_EXPORTER="console",
            OTEL_METRICS_EXPORTER="none",
            OTEL_LOGS_EXPORTER="none",
            OTEL_REALTIME_STATE_DIR=str(tmp_path / "state"),
            PYTHONPATH=str(ROOT),
        ),
    )
    value = json.loads(done.stdout)
    (found,) = (one for one in value["results"] if one["id"] == "provider.current")
    assert "BatchSpanProcessor with ConsoleSpanExporter" in found["seen"]
    assert 0 == done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--timeout", "soon"], "not a number of seconds: 'soon'"),
        (["--attachment-mb", "-1"], "-1"),
        (["--lives"], "--lives"),
    ],
)
def test_usage(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """2, in a line."""
    assert 2 == cli.main(["doctor", *arguments])
    assert line in capsys.readouterr().err.splitlines()[-1]


def test_live_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    """2: it cannot be done here."""
    assert 2 == cli.main(["doctor", "--live", "--yes"])
    expected = "otel-realtime: --live writes to LangSmith and needs a key: set LANGSMITH_API_KEY\n"
    assert ("", expected) == capsys.readouterr()


def test_live_that_nobody_can_answer_for(sandbox: Sandbox) -> None:
    """Without a terminal it takes ``--yes``; nothing was written."""
    done = started("--live", **langsmith_variables(sandbox.url))
    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.rstrip().endswith("nobody can answer here: add --yes")
    assert [] == sandbox.conversations()


def test_live_answers_are_part_of_the_json(sandbox: Sandbox, tmp_path: Path) -> None:
    """0, because all that a call needs is answered with yes."""
    more = {"OTEL_REALTIME_STATE_DIR": str(tmp_path / "state")}
    variables = langsmith_variables(sandbox.url) | more
    done = started("--live", "--yes", "--json", "--timeout", "60", **variables)
    assert 0 == done.returncode, done.stdout + done.stderr
    live = json.loads(done.stdout)["live"]
    assert [live["run_id"]] == [one["id"] for one in sandbox.conversations()]
    assert {"yes"} == {one["answer"] for one in live["answers"] if one["needed"]}


class Terminal(io.StringIO):
    """Somebody who can answer."""

    def isatty(self) -> bool:
        return True


def test_live_that_is_not_wanted(
    sandbox: Sandbox, process: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was written, and the checks alone decide."""
    process.setattr(sys, "stdin", Terminal("n\n"))
    assert 0 == run(timeout_s=100, live=True)
    told = capsys.readouterr()
    assert told.err.endswith("Write it? [y/N] nothing was written\n")
    assert told.out.splitlines()[-1].startswith("A call started here would be traced and recorded")
    assert [] == sandbox.conversations()


@pytest.mark.usefixtures("sandbox")
def test_live_with_a_client_that_cannot_read(
    process: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A later version takes the function away: 2, before anything is written."""
    process.delattr(langsmith.Client, "read_run")
    assert 2 == cli.main(["doctor", "--live", "--yes"])
    assert "--live reads with read_run(), which langsmith" in capsys.readouterr().err
