"""Make the demo's speech files again from ``voices/script.json``; needs the ``flite`` command.

The package ships its output; nothing else calls this.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
import wave
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.demo.speech import FILE_RATE_HZ, MULAW, VOICES, mulaw_table, script

EDGE_S: Final = 0.06
"""Silence kept at both ends."""
PEAK: Final = 0.7
SILENT: Final = 0.01


def synthesise(voice: str, stretch: float, text: str) -> npt.NDArray[np.float64]:
    """Speak ``text``: mono samples at 16 kHz, 1.0 being full scale."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        tempo = ["--setf", f"duration_stretch={stretch}"]
        subprocess.run(["flite", "-voice", voice, *tempo, "-t", text, "-o", str(path)], check=True)
        with wave.open(str(path), "rb") as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return samples / 32768


def trim(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cut the silence at both ends and bring the peak to ``PEAK``."""
    level: npt.NDArray[np.float64] = samples / np.abs(samples).max() * PEAK
    loud = np.flatnonzero(np.abs(level) > SILENT)
    edge = round(EDGE_S * FILE_RATE_HZ)
    return level[max(0, int(loud[0]) - edge) : int(loud[-1]) + edge]


def encode(samples: npt.NDArray[np.float64]) -> bytes:
    """Nearest mu-law code of each sample."""
    table = mulaw_table()
    order = np.argsort(table, kind="stable")
    ordered = table[order]
    nearest = np.searchsorted((ordered[1:] + ordered[:-1]) / 2, samples)
    return order[nearest].astype(np.uint8).tobytes()


def wav(codes: bytes) -> bytes:
    """A mono mu-law WAV file at 16 kHz."""
    form = struct.pack("<HHIIHHH", MULAW, 1, FILE_RATE_HZ, FILE_RATE_HZ, 1, 8, 0)
    padded = codes + b"\xff" * (len(codes) % 2)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"fact" + struct.pack("<II", 4, len(codes))
    body += b"data" + struct.pack("<I", len(codes)) + padded
    return b"RIFF" + struct.pack("<I", len(body)) + body


def main() -> None:
    """Write every file of the script."""
    for name, entry in script().items():
        samples = trim(synthesise(entry["voice"], entry["stretch"], entry["text"]))
        path = VOICES / f"{name}.wav"
        path.write_bytes(wav(encode(samples)))
        print(f"{path.name}: {len(samples) / FILE_RATE_HZ:.2f} s, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
