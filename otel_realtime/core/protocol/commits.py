"""When the client sent its own ``input_audio_buffer.commit`` for a user's item (push to talk).

The server's ``input_audio_buffer.committed`` does not name the commit that it answers, but commits are
answered in order. An ``error`` refuses a commit, by its ``event_id`` or because the buffer was empty.

Source: https://platform.openai.com/docs/api-reference/realtime-client-events/input_audio_buffer/commit.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from otel_realtime.core.audio.commits import COMMIT_EMPTY

#: Maximum number of commits that wait for an answer; older ones are dropped.
MOST_OPEN: Final = 64


class SentCommits:
    """The commits of one conversation that the server has not answered yet."""

    def __init__(self) -> None:
        self._open: deque[tuple[str | None, int]] = deque(maxlen=MOST_OPEN)

    def sent(self, event_id: str | None, t: int) -> None:
        """Note a commit with this ``event_id``, sent at ``t`` ns since the start."""
        self._open.append((event_id, t))

    def committed(self) -> int | None:
        """Return when the client sent the commit that created an item; None if the server committed it."""
        return self._open.popleft()[1] if self._open else None

    def refused(self, event_id: str | None, code: str | None) -> None:
        """Remove the commit that an ``error`` refuses, if it refuses one."""
        named = [each for each in self._open if event_id is not None and each[0] == event_id]
        if named:
            self._open.remove(named[0])
        elif code == COMMIT_EMPTY:
            self.committed()

    def reset(self) -> None:
        """Drop the open commits, because a new server session begins or the connection has closed."""
        self._open.clear()
