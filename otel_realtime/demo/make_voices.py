"""Generate the demo's speech files from ``voices/script.json``; requires the ``flite`` command.

The package ships the generated files, so this runs only when the script changes.
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

#: Silence kept at both ends, s.
EDGE_S: Final = 0.06
#: Peak of each file, 1.0 being full scale.
PEAK: Final = 0.7
#: Samples up to this level count as silence.
SILENT: Final = 0.01


def synthesise(voice: str, stretch: float, text: str) -> npt.NDArray[np.float64]:
    """Return ``text`` spoken: mono samples at 16 kHz, 1.0 being full scale."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        tempo = ["--setf", f"duration_stretch={stretch}"]
        subprocess.run(["flite", "-voice", voice, *tempo, "-t", text, "-o", str(path)], check=True)
        with wave.open(str(path), "rb") as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return samples / 32768


def trim(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the samples without silence at both ends and with their peak at ``PEAK``."""
    level: npt.NDArray[np.float64] = samples / np.abs(samples).max() * PEAK
    loud = np.flatnonzero(np.abs(level) > SILENT)
    edge = round(EDGE_S * FILE_RATE_HZ)
    return level[max(0, int(loud[0]) - edge) : int(loud[-1]) + edge]


def encode(samples: npt.NDArray[np.float64]) -> bytes:
    """Return the nearest mu-law code of each sample."""
    table = mulaw_table()
    order = np.argsort(table, kind="stable")
    ordered = table[order]
    nearest = np.searchsorted((ordered[1:] + ordered[:-1]) / 2, samples)
    return order[nearest].astype(np.uint8).tobytes()


def wav(codes: bytes) -> bytes:
    """Return a mono mu-law WAV file at 16 kHz.

    A format other than PCM has a fact chunk with the number of samples:
    https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html
    """
    fmt = struct.pack("<HHIIHHH", MULAW, 1, FILE_RATE_HZ, FILE_RATE_HZ, 1, 8, 0)
    padded = codes + b"\xff" * (len(codes) % 2)  # 0xff is mu-law silence
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt
    body += b"fact" + struct.pack("<II", 4, len(codes))
    body += b"data" + struct.pack("<I", len(codes)) + padded
    return b"RIFF" + struct.pack("<I", len(body)) + body


def main() -> None:
    """Write the file of each utterance in the script."""
    for name, entry in script().items():
        samples = trim(synthesise(entry["voice"], entry["stretch"], entry["text"]))
        path = VOICES / f"{name}.wav"
        path.write_bytes(wav(encode(samples)))
        print(f"{path.name}: {len(samples) / FILE_RATE_HZ:.2f} s, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
