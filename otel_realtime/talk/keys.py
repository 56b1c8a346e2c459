"""Reads keys for push-to-talk; a terminal does not report a key's release, so each press toggles."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

#: Keys that open and close the microphone: space and return.
TALK_KEYS: Final = frozenset(b" \r\n")
QUIT_KEYS: Final = frozenset(b"qQ\x04")


class PushToTalk:
    """Says whether the user wants to speak.

    Attributes:
        open: whether the microphone is open; the microphone's callback reads it.
    """

    def __init__(self, quit_call: Callable[[], object]) -> None:
        self.open = False
        self._quit_call = quit_call

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Read keys from standard input inside the block; it may be a terminal or a pipe."""
        loop = asyncio.get_running_loop()
        if sys.stdin is None or sys.stdin.closed:
            yield
            return
        descriptor = sys.stdin.fileno()
        with _raw_keys(descriptor):
            try:
                loop.add_reader(descriptor, self._read, loop, descriptor)
            except OSError:  # epoll does not support files, which have no key presses anyway
                yield
                return
            try:
                yield
            finally:
                loop.remove_reader(descriptor)

    def _read(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        pressed = os.read(descriptor, 64)
        if not pressed:  # the end of a pipe: no more keys will come
            loop.remove_reader(descriptor)
        for key in pressed:
            if key in TALK_KEYS:
                self.open = not self.open
            elif key in QUIT_KEYS:
                self._quit_call()


@contextmanager
def _raw_keys(descriptor: int) -> Iterator[None]:
    """Make a terminal deliver each key at once, without showing it; Ctrl-C still interrupts."""
    if not os.isatty(descriptor):
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
