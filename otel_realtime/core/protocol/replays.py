"""What a client replays to a new session of the server: the conversation as it was.

When a connection is lost the server forgets the conversation. The client creates its items once more on
the next one, with their ids or without; without, the server gives them new ones. So an item is known

1. by its id,
2. by the ``call_id`` of a function call or of its output,
3. by what it says, if the items come in the order of the conversation and from its beginning on; some
   may be left out, and of an answer only the part that was heard may come.

Only who replays speaks for the model: until the client has created one of its messages or calls again, a
message of the user's may as well be said once more. The replay is over with the first message that is
not known, or with the first response. Sources: ``pydantic_ai.realtime`` replays without ids,
LiveKit's plugin with them.
"""

from __future__ import annotations

from collections.abc import Iterable

from otel_realtime.core.protocol.events import JsonMapping
from otel_realtime.core.protocol.items import Item


class Replay:
    """Recognises the items that the client replays after the loss of a connection.

    Attributes:
        proven: It is a replay: something of the model's own is among it.
    """

    def __init__(self) -> None:
        self.proven = False
        self._known: list[Item] = []  # empty: nothing is being replayed
        self._next = 0  # those before were replayed, or left out

    def expect(self, items: Iterable[Item]) -> None:
        """Expect a replay of these items, in conversation order."""
        self._known = [item for item in items if item.committed and not item.deleted]
        self._next = 0
        self.proven = False

    def end(self) -> None:
        """Note that what the client creates from here on is new."""
        self._known = []

    def recognise(self, source: JsonMapping) -> Item | None:
        """Return the item that the client creates again; None if it is a new one.

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
        if created.role == "system":  # the developer's own word, new or old
            return None
        for index in range(self._next, len(self._known)):
            item = self._known[index]
            if _says_same(item, created):
                self._next = index + 1
                self.proven = self.proven or item.role == "assistant"
                return item
            if not self._next and item.is_message and item.role != "system":
                break  # not from the beginning on
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
