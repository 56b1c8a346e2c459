"""Where an item of the user lies in the audio that the client appended.

Positions count all audio of the conversation, in ns, so they stay valid when the connection is
replaced. The evidence, best first: the VAD's ``audio_start_ms`` and ``audio_end_ms``; what a
push-to-talk client committed; the moment at which the item was committed or first spoken of. Without
a beginning it is taken to begin where the item before it ends: that may be too much, never too little,
for it decides what is silenced.

Source: https://platform.openai.com/docs/api-reference/realtime-server-events/input_audio_buffer/speech_started
"""

from __future__ import annotations

from otel_realtime.core.audio.formats import NS_PER_MS
from otel_realtime.core.audio.segments import Interval


class SpokenItems:
    """The items of the user, as positions in all audio that was appended, in ns."""

    def __init__(self) -> None:
        self._starts: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._boundary_ns = 0  # end of the latest item

    def started(self, item_id: str, position_ns: int) -> None:
        """Apply ``speech_started``; the VAD may hear the same item begin once more."""
        self._starts.setdefault(item_id, position_ns)

    def stopped(self, item_id: str, position_ns: int) -> None:
        """Apply ``speech_stopped``, or the commit of the client."""
        self._starts.setdefault(item_id, self._boundary_ns)
        self._ends[item_id] = position_ns
        self._boundary_ns = max(self._boundary_ns, position_ns)

    def named(self, item_id: str, appended_ns: int | None) -> None:
        """Note that there is such an item, whatever else is known of it.

        Args:
            item_id: The item.
            appended_ns: What was appended by now, if that is its end: the server has committed it, or
                knows its whole text. None if it may go on.
        """
        self._starts.setdefault(item_id, self._boundary_ns)
        if appended_ns is not None and item_id not in self._ends:
            self.stopped(item_id, appended_ns)

    def of(
        self,
        item_id: str,
        appended_ns: int,
        from_ms: int | None = None,
        to_ms: int | None = None,
    ) -> Interval | None:
        """Return where an item begins and ends, or a part of it; None if nothing is known of it.

        Args:
            item_id: The item.
            appended_ns: What was appended so far, which ends an item that goes on.
            from_ms: Where the part begins, in ms of the item's audio; None for its beginning.
            to_ms: Where it ends; None for its end.
        """
        start = self._starts.get(item_id)
        if start is None:
            return None
        end = self._ends.get(item_id, appended_ns) if to_ms is None else start + to_ms * NS_PER_MS
        start += 0 if from_ms is None else from_ms * NS_PER_MS
        return start, max(start, end)
