"""MCP: the tool calls that the server runs itself, its approval requests, and its lists of tools.

See https://platform.openai.com/docs/guides/realtime-mcp. A call belongs to the response that made it.
The call's events name only its item, and may arrive after ``response.done``. The order of the events of
one call and of one list, with the changes that are reported::

    mcp_approval_request item               the server asks for approval
    client: mcp_approval_response item      the client approves or refuses     McpApproved
    mcp_call item                           arguments; the response is known
    response.mcp_call.in_progress           the call is running
    response.mcp_call.completed, .failed    the call has ended
    mcp_call item with output or error      the result

    mcp_list_tools.in_progress              the server asks an MCP server for its tools
    mcp_list_tools.completed, .failed       the server has the list, or not    McpListed
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_realtime.core.protocol.changes import Change, McpApproved, McpListed
from otel_realtime.core.protocol.events import JsonMapping
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.json_values import object_or_empty, text_or_none
from otel_realtime.core.protocol.responses import (
    McpApproval,
    McpCall,
    McpListing,
    Moment,
    Response,
)
from otel_realtime.core.protocol.session import Counts


class McpFacts:
    """The MCP calls, approvals and lists of tools of one conversation.

    Args:
        counts: The counters in which the calls are counted.

    Attributes:
        approvals: Requests for approval, by id of their item.
        listings: Lists of tools, by id of their item.
        adrift: Calls whose response is unknown, by id of their item.
    """

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self.approvals: dict[str, McpApproval] = {}
        self.listings: dict[str, McpListing] = {}
        self.adrift: dict[str, McpCall] = {}
        self._holders: dict[str, dict[str, McpCall]] = {}  # item id -> the dict that holds its call

    def item(
        self,
        item: Item,
        source: JsonMapping,
        moment: Moment,
        responses: Mapping[str, Response],
        turn: int,
    ) -> list[Change]:
        """Apply an event that carries an item.

        Args:
            item: The item, after merging the event.
            source: The ``item`` object of the event.
            moment: When the event was received.
            responses: The conversation's responses by id.
            turn: Number of the conversation's current turn.
        """
        if item.kind == "mcp_approval_request":
            if item.id not in self.approvals:
                self.approvals[item.id] = McpApproval(item, asked=moment, turn=turn)
        elif item.kind == "mcp_approval_response":
            return self.answer(source, moment)  # in case the client's own event was not seen
        elif item.kind == "mcp_list_tools":
            self._tools(item, source)
        elif item.kind == "mcp_call":
            self._call_item(item, moment, responses.get(item.response_id or ""))
        return []

    def _call_item(self, item: Item, moment: Moment, response: Response | None) -> None:
        if response is None:
            return
        held = self._holders.get(item.id)
        if held is not response.mcp:
            call = held.pop(item.id, None) if held is not None else None
            if call is None:
                call = self._new(item.id, moment, begun=False)
            self._holders[item.id] = response.mcp
            response.mcp[item.id] = call
        call = response.mcp[item.id]
        if call.ended is None and (item.output is not None or item.error is not None):
            call.ended, call.failed = moment, item.error is not None

    def call_event(
        self, item_id: str, event_type: str, moment: Moment, response: Response | None
    ) -> None:
        """Apply ``response.mcp_call.*``.

        Args:
            item_id: Id of the call's item.
            event_type: Type of the event.
            moment: When the event was received.
            response: The response that made the call, or is assumed to have made it; None if unknown.
        """
        guess = self.adrift if response is None else response.mcp
        calls = self._holders.setdefault(item_id, guess)
        call = calls.get(item_id)
        if call is None:
            call = calls[item_id] = self._new(item_id, moment, begun=True)
        if event_type.endswith(".in_progress"):
            if not call.begun:  # until now only its item was known
                call.started, call.begun = moment, True
        else:
            call.ended, call.failed = moment, event_type.endswith(".failed")

    def _new(self, item_id: str, moment: Moment, *, begun: bool) -> McpCall:
        self._counts.mcp_calls += 1
        return McpCall(item_id, started=moment, begun=begun)

    def answer(self, source: JsonMapping, moment: Moment) -> list[Change]:
        """Apply an ``mcp_approval_response`` item."""
        approval = self.approvals.get(text_or_none(source.get("approval_request_id")) or "")
        if approval is None or approval.answered is not None or approval.lost:
            return []
        approval.answered = moment
        approve = source.get("approve")
        approval.approved = approve if isinstance(approve, bool) else None
        approval.reason = text_or_none(source.get("reason"))
        return [McpApproved(approval)]

    def list_event(self, item_id: str, event_type: str, moment: Moment) -> list[Change]:
        """Apply ``mcp_list_tools.*``."""
        listing = self.listings.get(item_id)
        if listing is None or (listing.ended is not None and event_type.endswith(".in_progress")):
            server, tools = (listing.server, listing.tools) if listing is not None else (None, [])
            listing = McpListing(item_id, started=moment, server=server, tools=tools)
            self.listings[item_id] = listing
        elif listing.started is None:
            listing.started = moment
        if event_type.endswith(".in_progress") or listing.ended is not None:
            return []
        listing.ended, listing.failed = moment, event_type.endswith(".failed")
        return [McpListed(listing)]

    def _tools(self, item: Item, source: JsonMapping) -> None:
        listing = self.listings.get(item.id)
        if listing is None:
            listing = self.listings[item.id] = McpListing(item.id)
        listing.server = item.server_label or listing.server
        tools = source.get("tools")
        if isinstance(tools, list) and tools:
            names = (text_or_none(object_or_empty(tool).get("name")) for tool in tools)
            listing.tools = [name for name in names if name is not None]

    def disconnected(self, moment: Moment) -> list[Change]:
        """Apply the close of the connection: everything that the server ran on it counts as ended."""
        approvals, listings = self.unfinished()
        for approval in approvals:
            approval.lost = True
        for listing in listings:  # the next session lists the tools again
            del self.listings[listing.item_id]
        for calls in (self.adrift, *self._holders.values()):
            for call in calls.values():
                if call.ended is None:
                    call.ended, call.failed = moment, True
        return [*map(McpApproved, approvals), *map(McpListed, listings)]

    def unfinished(self) -> tuple[list[McpApproval], list[McpListing]]:
        """Return the unanswered approval requests and the unfinished lists of tools."""
        return (
            [one for one in self.approvals.values() if one.answered is None and not one.lost],
            [one for one in self.listings.values() if one.started and one.ended is None],
        )
