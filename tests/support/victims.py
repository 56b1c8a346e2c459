"""Processes that are killed with SIGKILL, and what they had told before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.isolation import langsmith_variables
from tests.support.processes import clean_environment

ROOT = Path(__file__).parents[2]
SECOND = 1_000_000_000


class Victim:
    """One process of ``tests.recovery.victim``.

    Args:
        mode: what it does.
        environment: its variables.
        within: a command that runs it, such as ``unshare``.

    Attributes:
        told: what it has said so far.
        killed_ns: when it was killed, epoch ns.
    """

    def __init__(
        self, mode: str, environment: Mapping[str, str], within: Sequence[str] = ()
    ) -> None:
        self.told: list[dict[str, Any]] = []
        self.killed_ns = 0
        self._heard = threading.Condition()
        self._child = subprocess.Popen(
            [*within, sys.executable, "-m", "tests.recovery.victim", mode],
            cwd=ROOT,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def _listen(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.endswith(b"\n"):
                with self._heard:
                    self.told.append(json.loads(line))
                    self._heard.notify_all()

    def wait_for(self, kind: str, *, count: int = 1, timeout_s: float = 40, **facts: Any) -> Any:
        """Wait until it has said something so many times; returns the last of them."""
        wanted = {"kind": kind, **facts}.items()
        deadline = time.monotonic() + timeout_s
        with self._heard:
            while True:
                found = [row for row in self.told if wanted <= row.items()]
                if len(found) >= count:
                    return found[count - 1]
                assert self._heard.wait(deadline - time.monotonic()), f"no {wanted} in {self.told}"

    def of(self, kind: str) -> list[dict[str, Any]]:
        """All it said of a kind."""
        return [row for row in list(self.told) if row["kind"] == kind]

    @property
    def run(self) -> str:
        """The id of its conversation's root run."""
        return str(self.wait_for("opened")["run"])

    def wait_for_exit(self, timeout_s: float = 40) -> int:
        """Wait until it has ended by itself; returns its exit code."""
        return self._child.wait(timeout_s)

    def kill(self) -> None:
        """End it as nobody can prevent."""
        if self._child.poll() is None:
            self.killed_ns = time.time_ns()
            self._child.send_signal(signal.SIGKILL)
            self._child.wait()
            self._listener.join(0.5)

    def wait_for_death(self, timeout_s: float = 40) -> None:
        """Wait until it has killed itself."""
        assert -signal.SIGKILL == self._child.wait(timeout_s)
        self.killed_ns = time.time_ns()
        self._listener.join(5)

    def ended_before(self, margin_s: float) -> set[str]:
        """Run ids of the spans that ended at least so long before the kill, without the root."""
        limit = self.killed_ns - int(margin_s * SECOND)
        return {
            f"00000000-0000-0000-{row['id'][:4]}-{row['id'][4:]}"
            for row in self.of("span")
            if row["ended"] < limit and row["name"] != "realtime_session"
        }


def environment(state_dir: Path, url: str, **extra: str) -> dict[str, str]:
    """Variables of a process that delivers to the LangSmith at ``url``."""
    return clean_environment(
        OTEL_REALTIME_STATE_DIR=str(state_dir),
        OTEL_REALTIME_RECOVER_ON_START="false",
        **langsmith_variables(url),
        **extra,
    )


@contextmanager
def victims(count: int, mode: str, variables: Mapping[str, str]) -> Iterator[list[Victim]]:
    """So many processes, all dead at the end."""
    started = [Victim(mode, variables) for _ in range(count)]
    try:
        yield started
    finally:
        for victim in started:
            victim.kill()


def files_below(folder: Path) -> list[Path]:
    """All files in a folder."""
    return [Path(top) / name for top, _, names in os.walk(folder) for name in names]
