"""Maps the audio that a push-to-talk client committed to items.

Without a VAD no event says where in the input an utterance lies. The client defines it: the audio that
it has appended since its last ``input_audio_buffer.commit`` (or ``.clear``) is the next item. The server
names the item in ``input_audio_buffer.committed``, once for each commit, in order. It refuses an empty
commit with an ``error``.

Source: https://platform.openai.com/docs/api-reference/realtime-client-events/input_audio_buffer/commit.
"""

from __future__ import annotations

from collections import deque
from typing import Final

#: Code of the error that answers a commit of an empty buffer.
COMMIT_EMPTY: Final = "input_audio_buffer_commit_empty"


class Commits:
    """The committed stretches of the input, as positions in all appended audio, in ns."""

    def __init__(self) -> None:
        self._from_ns = 0
        self._open: deque[tuple[int, int]] = deque()
        self._by_item: dict[str, tuple[int, int]] = {}

    def clear(self, appended_ns: int) -> None:
        """Apply ``input_audio_buffer.clear``: the audio appended so far belongs to no item."""
        self._from_ns = appended_ns

    def commit(self, appended_ns: int) -> None:
        """Apply the client's ``input_audio_buffer.commit``."""
        self._open.append((self._from_ns, appended_ns))
        self._from_ns = appended_ns

    def committed(self, item_id: str) -> None:
        """Apply ``input_audio_buffer.committed``: the oldest open commit is this item."""
        if self._open:
            self._by_item[item_id] = self._open.popleft()

    def refuse(self) -> None:
        """Take back the oldest open commit, which the server refused."""
        if self._open:
            self._open.popleft()

    def reset(self, appended_ns: int) -> None:
        """Begin a new server session: its buffer is empty, and open commits are lost."""
        self._open.clear()
        self._from_ns = appended_ns

    def of(self, item_id: str) -> tuple[int, int] | None:
        """Return where an item's audio begins and ends; None if the client did not commit it."""
        return self._by_item.get(item_id)
