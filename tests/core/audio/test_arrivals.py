"""The log of what arrived."""

from __future__ import annotations

from otel_realtime.core.audio.arrivals import MARK, Arrivals
from otel_realtime.core.audio.formats import MULAW, PCM16, AudioFormat


def test_the_chunks_of_a_part_are_found_among_others() -> None:
    """Marks and other parts in between do not matter, nor does what comes after its last byte."""
    log = Arrivals()
    first = log.add(0, 10, 0, 480, PCM16)
    log.mark(15)
    log.add(1, 20, 480, 960, PCM16)
    log.add(0, 30, 1_440, 480, PCM16)
    log.add(0, 40, 1_920, 480, PCM16)
    ms = 1_000_000
    wanted = [(10, 0, 480, 0), (30, 1_440, 480, 30 * ms)]
    assert wanted == list(log.of(0, first, 960))
    assert [] == list(log.of(0, first, 0))
    assert [0, MARK, 1, 0, 0] == list(log.part)


def test_positions_count_each_format_in_its_own_bytes() -> None:
    """10 ms of PCM16 are 480 bytes, of G.711 80."""
    log = Arrivals()
    entries = [
        log.add(0, 0, 0, 480, PCM16),
        log.add(1, 0, 480, 80, AudioFormat(MULAW, 8_000)),
        log.add(0, 0, 560, 480, PCM16),
    ]
    assert [0, 10, 20] == [log.position(entry) // 1_000_000 for entry in entries]
    assert 3 == len(log)
