"""Which items a response reads that no response has read before.

The server does not say what a response was given. It reads the conversation as it stands; what is
new in it is what was committed since the previous response: by the user's voice, by the client, or
by a tool of the server's own. The rules:

1. A response's own output is no input to the next one, except the result of an MCP call, which the
   response that made the call has not read if the call is the last thing in it.
2. A response with an ``input`` of its own reads that and no conversation. What it refers to
   (``item_reference``) counts as read.
3. A response outside the conversation leaves the conversation unread.
4. The server confirms each item that the client creates (``conversation.item.added``). Where it never
   confirms any, an item counts once it answers a later request.

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
        event_id: Id of the event.
        moment: When it was sent.
        known: The item that it was before, if the client creates it again for another session.
    """

    source: JsonMapping
    event_id: str | None
    moment: Moment
    known: Item | None = None


class Reading:
    """What no response has read yet, and which items the client itself has created."""

    def __init__(self) -> None:
        self._unread: dict[str, None] = {}  # in this order
        self._readable = 0  # items that belong to the conversation and are not deleted
        self._seeded: list[Seed] = []  # created by the client, not yet confirmed
        self._confirms = False

    def commit(self, item: Item) -> None:
        """Make an item part of the conversation, to be read by the next response."""
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
        """Note that no response will read an item: it was deleted, or a response produced it."""
        self._unread.pop(item_id, None)

    def begin(self, response: Response) -> None:
        """Note what a response that begins reads."""
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
        """Note the end of a response with these outputs."""
        last = outputs[-1] if outputs else None
        if last is not None and last.kind == "mcp_call" and last.has_result:
            self._unread.update((item.id, None) for item in outputs if item.kind == "mcp_call")

    def seed(self, seed: Seed) -> None:
        """Note that the client creates an item (``conversation.item.create``)."""
        self._seeded.append(seed)
        del self._seeded[:-MOST_OPEN]  # the server may refuse any of them, so they would pile up

    def confirm(self, source: JsonMapping) -> Seed | None:
        """Return what the client created, if an item that the server adds is the client's."""
        for seed in self._seeded:
            seeded = seed.source
            keys = ("type", "role", "call_id") if seeded.get("id") is None else ("id",)
            if all(seeded.get(key) == source.get(key) for key in keys):
                self._seeded.remove(seed)
                self._confirms = True
                return seed
        return None

    def disconnected(self) -> None:
        """Forget what was created on a connection that closed before the server confirmed it."""
        self._seeded.clear()

    def refused(self, event_id: str | None) -> None:
        """Forget the item that an ``error`` refuses, if it is about one."""
        if event_id is not None:
            self._seeded = [seed for seed in self._seeded if seed.event_id != event_id]

    def unconfirmed(self, asked: Moment, *, replayed: bool) -> list[tuple[JsonMapping, Moment]]:
        """Take what the client had created before a request that the server grants: rule 4.

        Args:
            asked: When the request was sent.
            replayed: What seems to be known is known: it was replayed.
        """
        if self._confirms:
            return []
        taken = [seed for seed in self._seeded if seed.moment.t <= asked.t]
        self._seeded = [seed for seed in self._seeded if seed.moment.t > asked.t]
        return [(seed.source, seed.moment) for seed in taken if seed.known is None or not replayed]
