"""Runs environments: each client against a server of its own, then the tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.matrix.environments import REPOSITORY, NotAvailable, make
from tests.matrix.judge import Verdict, judge
from tests.matrix.members import ROWS, Environment

#: Packages whose versions the results tell.
TOLD: Final = sorted({row.package for row in ROWS} | {"opentelemetry-sdk", "websockets"})
CLIENT_S: Final = 120.0
TESTS_S: Final = 400.0
Json = dict[str, Any]


def run_all(environments: list[Environment], *, jobs: int, limit_s: float) -> list[Json]:
    """Run environments, some at the same time, and return their results in the given order.

    Args:
        environments: what is run.
        jobs: how many at once.
        limit_s: what has not begun by then is not run, and its result says so.
    """
    deadline = time.monotonic() + limit_s
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda each: run(each, deadline), environments))


def run(environment: Environment, deadline: float) -> Json:
    """Make one environment, run its clients and tests, and return the result."""
    begun = time.monotonic()
    result: Json = {
        "name": environment.name,
        "python": environment.python,
        "requirements": list(environment.requirements),
        "versions": {},
        "clients": {},
    }
    try:
        if begun > deadline:
            raise NotAvailable("no time was left")
        python = make(environment)
        made = time.monotonic()
        with Server() as server:
            for name in environment.clients:
                verdict, report = run_client(python, name, server)
                if report:
                    result["python"] = report["python"]
                    versions = report["versions"]
                    result["versions"] = {each: versions[each] for each in TOLD if each in versions}
                result["clients"][name] = _told(verdict)
                _say(f"{environment.name}: {name}: {'; '.join(verdict.faults) or 'ok'}")
        if environment.tests:
            result["tests"] = run_tests(python, environment.tests)
            _say(f"{environment.name}: tests: {result['tests']}")
        _say(
            f"{environment.name}: {made - begun:.0f} s to make, {time.monotonic() - made:.0f} s run"
        )
    except NotAvailable as error:
        result["not_run"] = str(error)
        _say(f"{environment.name}: not run: {error}")
    return result


class Server:
    """``tests.matrix.server``, one for all clients of an environment."""

    def __enter__(self) -> Server:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.matrix.server"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url: str = self._line()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate(timeout=30)

    def sockets(self) -> list[Json]:
        """What went over the sockets since it was asked before."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return list(self._line())

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def run_client(python: Path, name: str, server: Server) -> tuple[Verdict, Json]:
    """Run one client; return the verdict, and the client's report."""
    try:
        client = subprocess.run(
            [str(python), "-m", "tests.matrix.scenario", name, server.url],
            cwd=REPOSITORY,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=CLIENT_S,
        )
    except subprocess.TimeoutExpired:
        return Verdict((f"no end within {CLIENT_S:.0f} s",)), {}
    finally:
        sockets = server.sockets()
    if client.returncode:
        return Verdict((f"exit {client.returncode}: {client.stderr.strip()[-2000:]}",)), {}
    report = json.loads(client.stdout.splitlines()[-1])
    return judge(report, sockets), report


def run_tests(python: Path, files: tuple[str, ...]) -> Json:
    """Run test files; return how many passed, and the end of the output if any failed."""
    try:
        done = subprocess.run(
            [str(python), "-m", "pytest", "-q", *files],
            cwd=REPOSITORY,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=TESTS_S,
        )
    except subprocess.TimeoutExpired:
        return {"passed": 0, "failed": f"no end within {TESTS_S:.0f} s"}
    passed = re.search(r"(\d+) passed", done.stdout)
    count = int(passed[1]) if passed is not None else 0
    return {"passed": count, **({"failed": done.stdout[-3000:]} if done.returncode else {})}


def _environment() -> dict[str, str]:
    """The variables of a child: nothing that configures telemetry."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "LANGSMITH_", "LANGCHAIN_"))
    }
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "0"}


def _told(verdict: Verdict) -> Json:
    told: Json = {
        "tool": verdict.tool,
        "below": verdict.below,
        "knew": verdict.knew,
        "recorded": verdict.recorded,
        "closed": verdict.closed,
    }
    return {**told, "faults": list(verdict.faults)} if verdict.faults else told


def _say(text: str) -> None:
    print(text, flush=True)
