"""``otel-realtime talk`` as a process on a sound card of the test's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.processes import clean_environment
from tests.support.sound_card import SoundCard
from tests.support.waiting import wait_for

KEY = "sk-test-of-talk"


class TalkProcess:
    """The command while it runs.

    Attributes:
        child: the process.
        out: what it has written to standard output.
        err: the same of standard error.
    """

    def __init__(self, child: subprocess.Popen[bytes], folder: Path) -> None:
        self.child = child
        self._folder = folder

    @property
    def out(self) -> str:
        """What it has written to standard output."""
        return (self._folder / "out.txt").read_text(errors="replace")

    @property
    def err(self) -> str:
        """What it has written to standard error."""
        return (self._folder / "err.txt").read_text(errors="replace")

    def type(self, keys: str) -> None:
        """Type on its standard input."""
        assert self.child.stdin is not None
        self.child.stdin.write(keys.encode())
        self.child.stdin.flush()

    def hang_up(self) -> None:
        """Press Ctrl-C."""
        self.child.send_signal(signal.SIGINT)

    def until(self, text: str, timeout_s: float = 20) -> None:
        """Wait until it has said something."""
        wait_for(
            lambda: text in self.out + self.err or self.child.poll() is not None,
            f"{text!r} in what talk says",
            timeout_s=timeout_s,
        )
        assert text in self.out + self.err, (self.out, self.err)

    def ended(self, timeout_s: float = 60) -> int:
        """Wait for its end; returns its exit code. No error of ours was a traceback."""
        code = self.child.wait(timeout_s)
        assert "Traceback" not in self.out + self.err, (self.out, self.err)
        return code

    def summary(self) -> dict[str, Any]:
        """What ``--json`` printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found


def environment(folder: Path, card: SoundCard | None = None, **more: str) -> dict[str, str]:
    """What a user's shell has: no destination, no key, and no other sound card."""
    variables = clean_environment(XDG_STATE_HOME=str(folder / "xdg"), PYTHONUNBUFFERED="1")
    for name in list(variables):
        if name.startswith(("OPENAI_", "AZURE_")):
            del variables[name]
    return variables | (card.env if card is not None else {}) | more


@contextmanager
def talking(
    folder: Path, *arguments: str, card: SoundCard | None = None, **variables: str
) -> Iterator[TalkProcess]:
    """Run the command; it is killed if the test leaves it running."""
    with (folder / "out.txt").open("wb") as out, (folder / "err.txt").open("wb") as err:
        child = subprocess.Popen(
            [sys.executable, "-m", "otel_realtime", "talk", *arguments],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            cwd=folder,
            env=environment(folder, card, PYTHONPATH=os.getcwd(), **variables),
        )
    try:
        yield TalkProcess(child, folder)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        if child.stdin is not None:
            child.stdin.close()
