"""Track which items a response reads that no earlier response has read.

The server does not report what a response read. A response reads the whole conversation; new in it are
the items that were committed since the previous response: by the user's voice, by the client, or by a
server-side tool. The rules:

1. A response's own output is not input of the next one. The exceptions are the results of its MCP
   calls, if its last output item is an MCP call with a result: it has then not read them itself.
2. A response with its own ``input`` reads that instead of the conversation. The items that it refers to
   (``item_reference``) count as read.
3. A response outside the conversation does not change what is unread.
4. The server confirms each item that the client creates (``conversation.item.added``). If the server
   never confirms any, an item counts as added once the server grants a later request.

Source: ``response.create`` at
https://platform.openai.com/docs/api-reference/realtime-client-events/response/create.
"""

from __future__ import annotations

from dataclasses import dataclass

from otel_realtime.core.protocol.events import JsonMapping
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.json_values import object_or_empty
from otel_realtime.core.protocol.requests import MOST_OPEN
from otel_realtime.core.protocol.responses import Moment, Response


@dataclass(frozen=True, slots=True, eq=False)
class Seed:
    """An item that the client creates.

    Attributes:
        source: Its ``item`` object.
        event_id: Id of the client's event.
        moment: When the client sent it.
        known: The known item that it seems to repeat, if the client replays items to a new session.
    """

    source: JsonMapping
    event_id: str | None
    moment: Moment
    known: Item | None = None


class Reading:
    """The items that no response has read yet, and the items that the client has created."""

    def __init__(self) -> None:
        self._unread: dict[str, None] = {}  # item ids, in the order of commit
        self._readable = 0  # items that belong to the conversation and are not deleted
        self._seeded: list[Seed] = []  # created by the client, not yet confirmed
        self._confirms = False

    def commit(self, item: Item) -> None:
        """Make an item part of the conversation; the next response reads it."""
        if not item.committed:
            item.committed = True
            self._readable += not item.deleted
            if item.response_id is None:
                self._unread[item.id] = None

    def delete(self, item: Item) -> None:
        """Take an item out of the conversation."""
        if not item.deleted:
            item.deleted = True
            self._readable -= item.committed
        self.forget(item.id)

    def forget(self, item_id: str) -> None:
        """Remove an item from the unread ones: it was deleted, already read, or produced by a response."""
        self._unread.pop(item_id, None)

    def begin(self, response: Response) -> None:
        """Determine what a new response reads."""
        if response.own_input is not None:
            if not response.out_of_band:
                for element in response.own_input:
                    self.forget(str(object_or_empty(element).get("id")))
            return
        response.inputs = list(self._unread)
        response.context_items = max(self._readable - len(response.inputs), 0)
        if not response.out_of_band:
            self._unread.clear()

    def end(self, outputs: list[Item]) -> None:
        """Apply the end of a response with these output items; rule 1."""
        last = outputs[-1] if outputs else None
        if last is not None and last.kind == "mcp_call" and last.has_result:
            self._unread.update((item.id, None) for item in outputs if item.kind == "mcp_call")

    def seed(self, seed: Seed) -> None:
        """Note that the client creates an item (``conversation.item.create``)."""
        self._seeded.append(seed)
        del self._seeded[:-MOST_OPEN]  # limited, because refused items would accumulate

    def confirm(self, source: JsonMapping) -> Seed | None:
        """Return the client's seed for an item that the server adds; None if the client did not create it."""
        for seed in self._seeded:
            seeded = seed.source
            keys = ("type", "role", "call_id") if seeded.get("id") is None else ("id",)
            if all(seeded.get(key) == source.get(key) for key in keys):
                self._seeded.remove(seed)
                self._confirms = True
                return seed
        return None

    def disconnected(self) -> None:
        """Drop the seeds that the server had not confirmed when the connection closed."""
        self._seeded.clear()

    def refused(self, event_id: str | None) -> None:
        """Drop the seed that an ``error`` refuses, if it refuses one."""
        if event_id is not None:
            self._seeded = [seed for seed in self._seeded if seed.event_id != event_id]

    def unconfirmed(self, asked: Moment, *, replayed: bool) -> list[tuple[JsonMapping, Moment]]:
        """Remove and return the items that the client created before a request was granted; rule 4.

        Args:
            asked: When the request was sent.
            replayed: Whether the client is certainly replaying items; known items are then left out.
        """
        if self._confirms:
            return []
        taken = [seed for seed in self._seeded if seed.moment.t <= asked.t]
        self._seeded = [seed for seed in self._seeded if seed.moment.t > asked.t]
        return [(seed.source, seed.moment) for seed in taken if seed.known is None or not replayed]
