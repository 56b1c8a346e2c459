"""The state directories that released versions left: copies of them to recover, and what came of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden"
ADDRESS = b"http://langsmith.invalid"
KEPT_IN = b"/var/recordings"


def copy(version: str, to: Path, *, url: str, recordings: Path, only: str = "") -> Path:
    """Copy a state directory, as if its processes had just died and delivered to ``url``.

    File times are new (recovery deletes what is old) and modes are those of the contract, which git
    does not keep.

    Args:
        version: of the package that left it.
        to: where it goes.
        url: the LangSmith it is meant for.
        recordings: what stands for ``recordings_dir``.
        only: the instance id of the one process whose things are copied; all of them if empty.
    """
    source = GOLDEN / version / "state"

    def others(folder: str, names: list[str]) -> set[str]:
        return set() if folder == str(source) else {n for n in names if only not in folder + n}

    shutil.copytree(source, to, copy_function=shutil.copyfile, ignore=others)
    for path in (to, *to.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if path.name == "journal.jsonl" or path.suffix == ".spans":
            head, newline, rest = path.read_bytes().partition(b"\n")
            head = head.replace(ADDRESS, url.encode()).replace(KEPT_IN, str(recordings).encode())
            path.write_bytes(head + newline + rest)
    return to


def expected(version: str) -> dict[str, Any]:
    """What that version itself delivered."""
    found: dict[str, Any] = json.loads((GOLDEN / version / "expected.json").read_text())
    return found


def sound(path: Path) -> dict[str, Any]:
    """A recording in numbers: rate, length, and for each side where it sounds and how loud."""
    with wave.open(str(path)) as file:
        rate, frames, channels = file.getframerate(), file.getnframes(), file.getnchannels()
        data = file.readframes(frames)
    samples = np.frombuffer(data, "<i2").reshape(-1, channels)
    return {
        "channels": channels,
        "rate_hz": rate,
        "frames": frames,
        "length_ms": round(frames * 1000 / rate, 1),
        "sha256_of_samples": hashlib.sha256(data).hexdigest(),
        "user": _side(samples[:, 0].astype(np.float64), rate),
        "agent": _side(samples[:, 1].astype(np.float64), rate),
    }


def _side(samples: Any, rate: int) -> dict[str, Any]:
    at = np.flatnonzero(samples)
    gaps = np.flatnonzero(np.diff(at) > rate // 200)  # 5 ms
    starts = at[np.r_[0, gaps + 1]] if at.size else at
    ends = at[np.r_[gaps, at.size - 1]] + 1 if at.size else at
    step = rate // 10
    return {
        "sounds_ms": [
            [round(int(a) * 1000 / rate, 1), round(int(b) * 1000 / rate, 1)]
            for a, b in zip(starts, ends, strict=True)
        ],
        "rms_per_100_ms": [
            round(float(np.sqrt((samples[a : a + step] ** 2).mean())))
            for a in range(0, samples.size, step)
        ],
    }


def arrived(found: dict[str, Any]) -> dict[str, Any]:
    """A conversation as the sandbox has it, in the words of ``expected.json``."""
    root = found["root"]
    below = [run for run in found["runs"] if run["id"] != root["id"]]
    rows = sorted([run["name"], run["run_type"], run["status"], run["id"]] for run in below)
    return {
        "name": root["name"],
        "project": root["project"],
        "thread_id": found["thread_id"],
        "status": found["status"],
        "error": root["error"],
        "start_ns": root["start_ns"],
        "end_ns": root["end_ns"],
        "tags": sorted(root["tags"]),
        "metadata": dict(sorted(root["metadata"].items())),
        "inputs": root["inputs"],
        "outputs": root["outputs"],
        "attachments": root["attachments"],
        "runs_below": len(below),
        "names_below": [row[0] for row in rows],
        "below": rows,
        "errors_below": {run["id"]: run["error"] for run in below if run["error"]},
    }
