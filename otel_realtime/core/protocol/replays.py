"""Recognise the items that a client replays to a new session of the server.

When a connection is lost, the server forgets the conversation. The client creates its items again on
the next connection, with or without their ids; without ids, the server assigns new ones. A replayed item
is recognised

1. by its id,
2. by the ``call_id`` of a function call or of its output,
3. by its text, if the items arrive in conversation order and from the beginning of the conversation.
   Some may be left out, and an answer may be shortened to the part that was heard.

Only a replaying client creates messages or calls of the model. Until it has created one of them, a user
message with the text of a known one may also be a new message. The replay ends with the first message
that is not recognised, or with the first response. Sources: ``pydantic_ai.realtime`` replays without
ids, LiveKit's plugin with ids.
"""

from __future__ import annotations

from collections.abc import Iterable

from otel_realtime.core.protocol.events import JsonMapping
from otel_realtime.core.protocol.items import Item


class Replay:
    """Recognises the items that the client replays after the loss of a connection.

    Attributes:
        proven: Whether the client is certainly replaying, because it has created an item of the model.
    """

    def __init__(self) -> None:
        self.proven = False
        self._known: list[Item] = []  # empty if no replay is expected
        self._next = 0  # index of the next candidate; earlier ones were replayed or left out

    def expect(self, items: Iterable[Item]) -> None:
        """Expect a replay of these items, in conversation order."""
        self._known = [item for item in items if item.committed and not item.deleted]
        self._next = 0
        self.proven = False

    def end(self) -> None:
        """End the replay: the items that the client creates from now on are new."""
        self._known = []

    def recognise(self, source: JsonMapping) -> Item | None:
        """Return the known item that the client creates again; None if the item is new.

        Args:
            source: The ``item`` object of ``conversation.item.create``.
        """
        if not self._known:
            return None
        created = Item("")
        created.merge(source)
        if not created.is_message:
            call = next((item for item in self._known if _is_same_call(item, created)), None)
            self.proven = self.proven or call is not None
            return call
        if created.role == "system":  # from the developer; may be new or replayed
            return None
        for index in range(self._next, len(self._known)):
            item = self._known[index]
            if _says_same(item, created):
                self._next = index + 1
                self.proven = self.proven or item.role == "assistant"
                return item
            if not self._next and item.is_message and item.role != "system":
                break  # the replay does not start at the beginning
        self.end()
        return None


def _is_same_call(item: Item, created: Item) -> bool:
    made = (created.kind, created.call_id)
    return created.call_id is not None and (item.kind, item.call_id) == made


def _says_same(item: Item, created: Item) -> bool:
    if not item.is_message or item.role != created.role:
        return False
    said, again = " ".join(item.text.split()), " ".join(created.text.split())
    heard = item.role == "assistant" and bool(again) and said.startswith(again)
    return heard or (bool(again) and said == again)
