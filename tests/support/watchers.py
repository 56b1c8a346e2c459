"""``otel-realtime recover --watch`` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]


class Watcher:
    """One watching process.

    Attributes:
        rows: what it has said so far, as JSON values.
    """

    def __init__(
        self,
        state_dir: Path,
        environment: Mapping[str, str],
        *arguments: str,
        within: Sequence[str] = (),
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        command = [sys.executable, "-m", "otel_realtime", "recover", "--watch", "--json"]
        self._child = subprocess.Popen(
            [*within, *command, "--state-dir", str(state_dir), "--interval", "0.3", *arguments],
            cwd=ROOT,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.errors = ""
        self._listeners = [
            threading.Thread(target=listen, daemon=True) for listen in (self._listen, self._hear)
        ]
        for listener in self._listeners:
            listener.start()
        wait_for(lambda: self.errors or self._child.poll() is not None, "its first line")

    def _listen(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.rows.append(json.loads(line))

    def _hear(self) -> None:
        assert self._child.stderr is not None
        for line in self._child.stderr:
            self.errors += line.decode()

    def delivered(self) -> list[str]:
        """Ids of the conversations that it has delivered."""
        return [row["id"] for row in list(self.rows) if row.get("delivered") and "what" in row]

    def wait_for(self, *runs: str, timeout_s: float = 40) -> None:
        """Wait until it has delivered these conversations."""
        wait_for(lambda: {*runs} <= {*self.delivered()}, f"{runs}", timeout_s=timeout_s)

    def stop(self, timeout_s: float = 40) -> int:
        """Send SIGTERM; returns the exit code."""
        self._child.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 40) -> int:
        """Wait until it has ended; returns the exit code."""
        code = self._child.wait(timeout_s)
        for listener in self._listeners:
            listener.join(5)
        return code

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self._child.poll() is None:
            os.kill(self._child.pid, signal.SIGKILL)
        self.wait()


@contextmanager
def watching(
    state_dir: Path, environment: Mapping[str, str], *arguments: str, count: int = 1
) -> Iterator[list[Watcher]]:
    """So many watchers of one state directory, dead at the end."""
    started = [Watcher(state_dir, environment, *arguments) for _ in range(count)]
    try:
        yield started
    finally:
        for watcher in started:
            watcher.kill()
