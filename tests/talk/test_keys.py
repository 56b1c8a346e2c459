"""Push-to-talk: keys of a terminal, or of a pipe."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
import termios
from collections.abc import Callable

import pytest

from otel_realtime.talk.keys import PushToTalk


async def typed(keys: PushToTalk, write: Callable[[bytes], object], pressed: bytes) -> list[bool]:
    """Press keys one after the other; returns whether the microphone was open after each."""
    states = []
    with keys.listening():
        for key in pressed:
            write(bytes([key]))
            await asyncio.sleep(0.05)
            states.append(keys.open)
    return states


def test_a_terminal_gives_each_key_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without return and without showing it; afterwards it is as it was before."""
    person, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    with os.fdopen(terminal, "rb", buffering=0) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        keys = PushToTalk(lambda: None)
        states = asyncio.run(typed(keys, lambda key: os.write(person, key), b" x \n"))
        assert [True, True, False, True] == states
        assert before == termios.tcgetattr(terminal)
    os.set_blocking(person, False)
    with pytest.raises(OSError):  # there is no echo to be read
        os.read(person, 10)
    os.close(person)


def test_a_pipe_does_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A foot switch, a script; its end opens and closes nothing. q ends the call."""
    ended: list[bool] = []
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        keys = PushToTalk(lambda: ended.append(True))

        def write(key: bytes) -> None:
            os.close(writing) if key == b"!" else os.write(writing, key)

        assert [True, True, True] == asyncio.run(typed(keys, write, b"\nq!"))
    assert [True] == ended


def test_where_there_is_no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, or nothing at all: the microphone stays closed."""
    for stdin in (open(os.devnull), None):  # noqa: SIM115
        monkeypatch.setattr(sys, "stdin", stdin)
        keys = PushToTalk(lambda: None)
        assert [False] == asyncio.run(typed(keys, lambda _: None, b" "))
        if stdin is not None:
            stdin.close()
