"""The README's sound callbacks on real PortAudio: what sounddevice hands over is what is recorded."""

from __future__ import annotations

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.support.callback_app import PLAYED
from tests.support.processes import ROOT
from tests.support.sound_card import SoundCard, needs_portaudio, voiced
from tests.support.talk_process import environment
from tests.support.talking import tone

SAID = tone(700, 330)


@pytest.mark.parametrize("kind", ["array", "raw"])
def test_the_callbacks_of_the_readme(kind: str, tmp_path: Path) -> None:
    """Arrays of floats, which are its default, and raw buffers; both are reused for the next block."""
    needs_portaudio()
    with SoundCard(tmp_path / "card", floats=kind == "array") as card:
        card.say(SAID)
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.callback_app", kind, "card"],
            env=environment(
                tmp_path,
                card,
                OTEL_REALTIME_STATE_DIR=str(tmp_path / "state"),
                OTEL_REALTIME_RECORDINGS_DIR=str(tmp_path / "kept"),
            ),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert 0 == done.returncode, done.stderr
    (path,) = (tmp_path / "kept").glob("*.wav")
    with wave.open(str(path)) as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert SAID == voiced(bytes(card.spoken)) == voiced(both[:, 0].tobytes())
    assert PLAYED == voiced(bytes(card.heard)) == voiced(both[:, 1].tobytes())
