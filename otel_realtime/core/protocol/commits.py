"""When the client asked for a user's item: its own ``input_audio_buffer.commit`` (push to talk).

The server's ``input_audio_buffer.committed`` names no commit; it answers them in order. An ``error``
refuses one, by its ``event_id`` or because the buffer was empty.

Source: https://platform.openai.com/docs/api-reference/realtime-client-events/input_audio_buffer/commit.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from otel_realtime.core.audio.commits import COMMIT_EMPTY

#: Commits that wait for an answer; older ones are forgotten.
MOST_OPEN: Final = 64


class SentCommits:
    """The commits of one conversation that the server has not answered yet."""

    def __init__(self) -> None:
        self._open: deque[tuple[str | None, int]] = deque(maxlen=MOST_OPEN)

    def sent(self, event_id: str | None, t: int) -> None:
        """Note a commit with this ``event_id``, sent at ``t`` ns since the start."""
        self._open.append((event_id, t))

    def committed(self) -> int | None:
        """Return when the commit was sent that made an item; None if the server made it by itself."""
        return self._open.popleft()[1] if self._open else None

    def refused(self, event_id: str | None, code: str | None) -> None:
        """Take back the commit that an ``error`` refuses, if it is about one."""
        named = [each for each in self._open if event_id is not None and each[0] == event_id]
        if named:
            self._open.remove(named[0])
        elif code == COMMIT_EMPTY:
            self.committed()

    def reset(self) -> None:
        """Begin a new server session: what was open is lost."""
        self._open.clear()
