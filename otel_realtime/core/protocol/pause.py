"""Decide which events of a conversation must stay hidden because the app paused the recording.

While the app pauses the recording (for card numbers, for example), every payload is hidden. Events
after the pause often report what happened during it: the transcript of a sentence spoken during the
pause, or the end of an answer that began in it. The rules:

1. Every event that arrives during a pause is hidden, and the ids that it names become private.
2. Everything in progress when a pause begins becomes private: unfinished responses, and user speech
   that has not been committed.
3. A later event that names a private id is hidden, and all ids that it names become private too.
4. Without a VAD no event marks where the audio of an ``input_audio_buffer.committed`` began, so the
   first commit after a pause is hidden if its item is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_realtime.core.protocol.events import Event
from otel_realtime.core.protocol.state import ConversationState

#: Keys under which an event, or an object in it, holds ids of other objects.
_ID_KEYS: Final = ("item_id", "response_id", "call_id", "delegation_id")
#: Keys of an event's objects that have an ``id``.
_OBJECT_KEYS: Final = ("item", "response")


class Pause:
    """The pauses of one conversation, and the ids that are private because of them."""

    def __init__(self) -> None:
        self._depth = 0  # pauses nest: ``pause_recording()`` is a context manager
        self._private: set[str] = set()
        self._next_commit = False

    @property
    def paused(self) -> bool:
        """Whether a pause is in effect."""
        return self._depth > 0

    def enter(self, state: ConversationState) -> bool:
        """Begin a pause.

        Args:
            state: The conversation; everything in progress in it becomes private.

        Returns:
            False if an outer pause is already in effect.
        """
        self._depth += 1
        if self._depth > 1:
            return False
        for response in state.unsettled.values():
            if response.done is None:
                self._private.update((response.id, *response.outputs))
        for item in state.items:
            if item.role == "user" and item.audio and not item.committed:
                self._private.add(item.id)
        return True

    def leave(self) -> bool:
        """End a pause.

        Returns:
            False if an outer pause is still in effect.
        """
        self._depth -= 1
        if self._depth:
            return False
        self._next_commit = True
        return True

    def hides(self, event: Event, state: ConversationState) -> bool:
        """Return whether an event must stay hidden.

        Must be called once for every event, in order, because the ids of a hidden event become private.

        Args:
            event: The event, before the state has received it.
            state: The conversation before the event.
        """
        inner = state.dialect.inner(event)
        ids = list(_ids(event)) if inner is event else [*_ids(event), *_ids(inner)]
        private = self.paused or not self._private.isdisjoint(ids)
        if event["type"] == "input_audio_buffer.committed":
            begun = state.items.get(event.get("item_id")) is not None  # known by ``speech_started``
            private = private or (self._next_commit and not begun)
            self._next_commit = self._next_commit and self.paused
        if private:
            self._private.update(ids)
        return private

    def is_private(self, name: str | None) -> bool:
        """Return whether an id of an item, response or call is private at present."""
        return self.paused or name in self._private


def _ids(event: Event) -> Iterator[str]:
    """Yield the ids in an event, in its item, in its response and in the response's output items."""
    sources: list[object] = [event]
    for key in _OBJECT_KEYS:
        source = event.get(key)
        if isinstance(source, dict):
            sources.append(source)
            yield from _text(source.get("id"))
            output = source.get("output")
            if isinstance(output, list):
                sources += output
                for item in output:
                    if isinstance(item, dict):
                        yield from _text(item.get("id"))
    for source in sources:
        if isinstance(source, dict):
            for key in _ID_KEYS:
                yield from _text(source.get(key))


def _text(value: object) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
