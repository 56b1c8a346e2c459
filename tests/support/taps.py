"""What the app says it plays: audio as its speaker takes it, and positions it reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from otel_realtime.recording.track import TapAudio
from tests.support.calls import PER_MS, Call

MS = 1_000_000
BLOCK = 20


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """A call in a folder."""
    return Call(tmp_path / "call")


def play(
    call: Call, at_ms: int, samples: np.ndarray, item: str | None = None, side: str = "agent"
) -> None:
    """An audio thread gives blocks of 20 ms as they are played, up to 9 ms late."""
    for number, at in enumerate(range(0, samples.size, BLOCK * PER_MS)):
        late = number * 7 % 10
        raw = samples[at : at + BLOCK * PER_MS].tobytes()
        t = (at_ms + number * BLOCK + late) * MS
        call.track.tap(t, side, TapAudio(raw, item_id=item))


def report(call: Call, at_ms: int, upto_ms: int, item: str = "item_a", step_ms: int = 20) -> None:
    """Positions, each told when it was reached; the item plays from ``at_ms``."""
    for position in range(step_ms, upto_ms + 1, step_ms):
        call.track.played((at_ms + position) * MS, item, 0, position)


def facts(call: Call, item: str = "item_a") -> tuple[int, int, str, bool]:
    """Generated, heard, by whose word, interrupted."""
    audio = call.track.item(item)
    assert audio is not None
    return audio.generated_ms, audio.heard_ms, audio.heard_source, audio.interrupted
