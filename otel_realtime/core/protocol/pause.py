"""What must not be told of a conversation that was paused: what happened meanwhile, and its echoes.

While the app pauses, every payload is hidden. What was going on then often arrives later: the
transcript of a sentence that was spoken in the pause, the end of an answer that began in it. So the
ids that a hidden event names are remembered, and later events that name one of them are hidden too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_realtime.core.protocol.events import Event
from otel_realtime.core.protocol.state import ConversationState

_NAMES: Final = ("item_id", "response_id", "call_id")
_OBJECTS: Final = ("item", "response")


class Pause:
    """Tells which events of one conversation may not be shown."""

    def __init__(self) -> None:
        self._depth = 0
        self._private: set[str] = set()
        self._next_commit = False

    @property
    def paused(self) -> bool:
        """Return whether a pause goes on."""
        return self._depth > 0

    def enter(self, state: ConversationState) -> bool:
        """Begin a pause; what is being spoken now falls into it. False in an outer pause."""
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
        """End a pause; False while an outer one goes on."""
        self._depth -= 1
        if self._depth:
            return False
        self._next_commit = True
        return True

    def hides(self, event: Event, state: ConversationState) -> bool:
        """Whether an event may not be shown; to be asked for each event, once, in order."""
        ids = list(_ids(event))
        private = self.paused or not self._private.isdisjoint(ids)
        if event["type"] == "input_audio_buffer.committed":
            # Without a VAD nothing says when this audio began: the pause may be in it.
            begun = state.items.get(event.get("item_id")) is not None
            private = private or (self._next_commit and not begun)
            self._next_commit = self._next_commit and self.paused
        if private:
            self._private.update(ids)
        return private

    def is_private(self, name: str | None) -> bool:
        """Whether an id of an item, a response or a call was named in a pause."""
        return self.paused or name in self._private


def _ids(event: Event) -> Iterator[str]:
    """What an event is about."""
    sources: list[object] = [event]
    for key in _OBJECTS:
        source = event.get(key)
        if isinstance(source, dict):
            sources.append(source)
            yield from _texts(source.get("id"))
            output = source.get("output")
            if isinstance(output, list):
                sources += output
                for item in output:
                    if isinstance(item, dict):
                        yield from _texts(item.get("id"))
    for source in sources:
        if isinstance(source, dict):
            for name in _NAMES:
                yield from _texts(source.get(name))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
