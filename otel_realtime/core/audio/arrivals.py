"""The log of the player model: what arrived, and when.

It is kept in arrays, because a long call has many thousands of chunks. An entry is a chunk of a part, or
a mark between two chunks: a moment at which evidence about the play-out arrived.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

from otel_realtime.core.audio.formats import AudioFormat
from otel_realtime.core.audio.segments import DurationCounter

#: ``part`` of an entry that is not a chunk.
MARK: Final = -1
#: A chunk: its arrival, its offset and size in the source, and its position in all audio (ns).
Arrival = tuple[int, int, int, int]


class Arrivals:
    """Everything that arrived, in order of arrival.

    Attributes:
        part: Index of the chunk's part; ``MARK`` for a mark.
        t: When it arrived, in ns since the start of the conversation.
        offset: Where it begins in the source, in bytes.
        size: Its size in bytes.
    """

    __slots__ = ("_position", "_received", "offset", "part", "size", "t")

    def __init__(self) -> None:
        self.part = array("i")
        self.t = array("q")
        self.offset = array("q")
        self.size = array("q")
        self._position = array("q")
        self._received = DurationCounter()

    def __len__(self) -> int:
        return len(self.t)

    def mark(self, t: int) -> int:
        """Add a mark; return its entry."""
        return self._add(MARK, t, 0, 0)

    def add(self, part: int, t: int, offset: int, size: int, audio_format: AudioFormat) -> int:
        """Add a chunk of a part; return its entry."""
        # By identity, because this runs for every chunk: setting an equal format again is harmless.
        if audio_format is not self._received.format:
            self._received.set_format(audio_format)
        return self._add(part, t, offset, size)

    def _add(self, part: int, t: int, offset: int, size: int) -> int:
        self.part.append(part)
        self.t.append(t)
        self.offset.append(offset)
        self.size.append(size)
        self._position.append(self._received.add(size))
        return len(self.t) - 1

    def position(self, entry: int) -> int:
        """Return where a chunk begins in all received audio, in ns."""
        return self._position[entry]

    def of(self, part: int, entry: int, size: int) -> Iterator[Arrival]:
        """Yield the chunks of a part, in order.

        Args:
            part: Its index.
            entry: The entry of its first chunk, or of a later chunk to begin with.
            size: Number of its bytes from that chunk on.
        """
        while size > 0 and entry < len(self.part):
            if self.part[entry] == part:
                size -= self.size[entry]
                yield self.t[entry], self.offset[entry], self.size[entry], self._position[entry]
            entry += 1
