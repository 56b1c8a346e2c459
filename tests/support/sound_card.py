"""A sound card for PortAudio where there is none: ALSA devices whose other ends are in the test.

ALSA's ``file`` plugin (https://www.alsa-project.org/alsa-doc/alsa-lib/pcm_plugins.html) writes what is
played to a file and reads what is recorded from one. Over ``null`` alone it knows no time: PortAudio
would play an hour in a second. With pipes for files the test is the card: it takes and gives a block
every 20 ms, a full pipe makes the player wait, an empty one the recorder. Everything between the app
and the pipe is the real thing: sounddevice, PortAudio, libasound.
"""

from __future__ import annotations

import ctypes.util
import fcntl
import os
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import pytest

RATE: Final = 24_000
BYTES_PER_MS: Final = RATE * 2 // 1000
BLOCK_MS: Final = 20
BLOCK: Final = BLOCK_MS * BYTES_PER_MS
#: Least size of a pipe: what the card holds that has been taken from the app and not been heard.
BUFFER: Final = 4096
BUFFER_MS: Final = BUFFER // BYTES_PER_MS + BLOCK_MS
#: ``fcntl.F_SETPIPE_SZ``, which Python names from 3.10 on, on Linux.
F_SETPIPE_SZ: Final = 1031

_DEVICES: Final = """
pcm.{name} {{
  type asym
  playback.pcm {{ type file  slave.pcm {{ type null }}  file "{folder}/speaker"  format raw }}
  capture.pcm {{ type file  slave.pcm {{ type null }}
                 file /dev/null  infile "{folder}/microphone"  format raw }}
}}
pcm.!default {name}
"""


def portaudio_is_missing() -> str:
    """Why there can be no sound card here; empty if there can."""
    if find_spec("sounddevice") is None:
        return "the package sounddevice is not installed"
    if ctypes.util.find_library("portaudio") is None:
        return "PortAudio is not installed: make portaudio"
    return ""


def needs_portaudio() -> None:
    """Skip a test where PortAudio is missing; on a CI, which installs it, let it fail."""
    if sys.platform != "linux":
        pytest.skip("ALSA is Linux's")
    missing = portaudio_is_missing()
    if missing and os.environ.get("CI"):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


class SoundCard:
    """One card with a microphone and a speaker, in real time, inside a ``with`` block.

    Args:
        folder: where its pipes and ALSA's configuration are.
        name: what ALSA calls it.
        echo: how loud the microphone hears the speaker, as a factor.
        floats: its samples are 32-bit floats, as PortAudio opens it unless told otherwise.

    Attributes:
        env: the variables by which a process sees this card and no other.
        heard: what has left the speaker since the card was plugged in; silence where nothing came.
        spoken: what has gone into the microphone in that time; silence where nothing was taken.
    """

    def __init__(
        self, folder: Path, name: str = "card", *, echo: float = 0.0, floats: bool = False
    ) -> None:
        self.heard = bytearray()
        self.spoken = bytearray()
        self.env = {"ALSA_CONFIG_PATH": str(folder / "asound.conf")}
        self._folder = folder
        self._name = name
        self._echo = echo
        self._floats = floats
        self._say = bytearray()
        self._unplugged = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="sound-card", daemon=True)

    def __enter__(self) -> SoundCard:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "asound.conf").write_text(
            _DEVICES.format(name=self._name, folder=self._folder)
        )
        self._speaker, self._microphone = (self._pipe(side) for side in ("speaker", "microphone"))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()
        os.close(self._speaker)
        os.close(self._microphone)

    def _pipe(self, side: str) -> int:
        path = self._folder / side
        os.mkfifo(path)
        # For both: neither end waits for the other to be opened, nor sees it close.
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(descriptor, F_SETPIPE_SZ, BUFFER)
        return descriptor

    def say(self, pcm: bytes) -> None:
        """Speak into the microphone, after what is being said."""
        with self._lock:
            self._say += pcm

    def unplug(self) -> None:
        """Stop the card: nothing is taken and given any more."""
        self._unplugged.set()
        self._thread.join(2)

    @property
    def speaking(self) -> bool:
        """Whether somebody speaks into the microphone."""
        with self._lock:
            return bool(self._say)

    @property
    def voiced_ms(self) -> float:
        """For how long something has been heard from the speaker."""
        return len(voiced(bytes(self.heard))) / BYTES_PER_MS

    def _run(self) -> None:
        due = time.monotonic()
        while not self._unplugged.wait(max(0.0, due - time.monotonic())):
            due += BLOCK_MS / 1000
            played = self._take()
            self._give(played)

    def _take(self) -> bytes:
        try:
            played = os.read(self._speaker, BLOCK * 2 if self._floats else BLOCK)
        except BlockingIOError:
            played = b""
        if self._floats:
            played = np.rint(np.frombuffer(played, "<f4") * 32_768).astype("<i2").tobytes()
        self.heard += played.ljust(BLOCK, b"\0")
        return played

    def _give(self, played: bytes) -> None:
        with self._lock:
            block = self._with_echo(bytes(self._say[:BLOCK]).ljust(BLOCK, b"\0"), played)
            try:
                # A whole block or nothing: the plugin takes a short one for a full one.
                os.write(self._microphone, _as_floats(block) if self._floats else block)
            except BlockingIOError:  # nobody records
                self.spoken += bytes(BLOCK)
                return
            self.spoken += block
            del self._say[:BLOCK]

    def _with_echo(self, block: bytes, played: bytes) -> bytes:
        if not self._echo:
            return block
        said, heard = (np.frombuffer(raw.ljust(BLOCK, b"\0"), "<i2") for raw in (block, played))
        mixed = said.astype(float) + self._echo * heard.astype(float)
        return np.clip(mixed, -32_768, 32_767).astype("<i2").tobytes()


def _as_floats(pcm: bytes) -> bytes:
    return (np.frombuffer(pcm, "<i2") / np.float32(32_768)).astype("<f4").tobytes()


def voiced(pcm: bytes) -> bytes:
    """What can be heard in PCM16: without digital silence, wherever it is.

    On a busy machine a player stalls: the card has a pause then, and so has the recording, though
    another one. The tones of these tests have no sample that is zero.
    """
    samples = np.frombuffer(pcm, "<i2")
    return samples[samples != 0].tobytes()


def time_of(pcm: bytes, number: int) -> float:
    """When the ``number``-th sample that can be heard comes in PCM16 at 24 kHz, in ms."""
    return float(np.flatnonzero(np.frombuffer(pcm, "<i2"))[number]) * 1000 / RATE
