"""A sound card for each test that wants one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sound_card import SoundCard, needs_portaudio


@pytest.fixture
def card(tmp_path: Path) -> Iterator[SoundCard]:
    """A card with a microphone and a speaker, in real time."""
    needs_portaudio()
    with SoundCard(tmp_path / "card") as plugged:
        yield plugged
