"""Simulates the MCP servers that the scripted server calls by itself: tools, approvals and calls.

https://platform.openai.com/docs/guides/realtime-mcp
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol

from otel_realtime.demo.items import Item, ItemList
from otel_realtime.demo.scenario import Answer, McpCall, Scenario
from otel_realtime.demo.wire import Json, RequestError, new_id

#: Time that the server takes to ask an MCP server for its tools.
LISTING_MS: Final = 120


class McpSession(Protocol):
    """The part of a session that its MCP servers use."""

    scenario: Scenario
    session: Json
    items: ItemList

    def emit(self, event_type: str, **fields: object) -> None:
        """Send an event to the client."""

    def run(self, steps: Iterator[float]) -> Callable[[], object]:
        """Run a generator of waits (milliseconds) in the background."""

    def respond(self, answer: Answer | None = None) -> None:
        """Start a response; without an answer, with the scenario's next one."""


class McpServers:
    """The MCP servers of one session.

    Args:
        session: the session they belong to.
    """

    def __init__(self, session: McpSession) -> None:
        self._session = session
        self._listed: set[str] = set()
        #: Id of an ``mcp_approval_request`` that waits for its answer -> the call.
        self._waiting: dict[str, McpCall] = {}

    def list_tools(self) -> None:
        """Ask each MCP server that is new in the session for its tools."""
        for tool in self._tools():
            label = str(tool["server_label"])
            if label not in self._listed:
                self._listed.add(label)
                self._session.run(self._list(label))

    def needs_approval(self, call: McpCall) -> bool:
        """Return whether the session requires approval of a call."""
        # "always" is the API's default.
        servers = [tool for tool in self._tools() if tool["server_label"] == call.server_label]
        return any(tool.get("require_approval", "always") != "never" for tool in servers)

    def ask(self, item: Item, call: McpCall) -> None:
        """Remember that a request for approval waits for its answer."""
        self._waiting[item.id] = call

    def check_answer(self, body: Json) -> None:
        """Check an ``mcp_approval_response`` item.

        Raises:
            RequestError: no request of that id waits for an answer.
        """
        request_id = body["approval_request_id"]
        if request_id not in self._waiting:
            message = f"Approval request '{request_id}' not found in conversation."
            raise RequestError("invalid_value", message, "item.approval_request_id")

    def answer(self, body: Json) -> None:
        """Act on an ``mcp_approval_response`` item: run the call, or continue without it."""
        request_id = str(body["approval_request_id"])
        call = self._waiting.pop(request_id)
        if body["approve"]:
            self._session.respond(Answer(mcp_calls=(call,), approved_by=request_id))
        else:
            self._session.respond()

    def _tools(self) -> list[Json]:
        return [tool for tool in self._session.session["tools"] or [] if tool.get("type") == "mcp"]

    def _list(self, label: str) -> Iterator[float]:
        session = self._session
        item = Item(
            {"id": new_id("mcpl"), "type": "mcp_list_tools", "server_label": label, "tools": []}
        )
        previous_id = session.items.add(item)
        session.emit("conversation.item.added", previous_item_id=previous_id, item=item.to_wire())
        session.emit("mcp_list_tools.in_progress", item_id=item.id)
        yield LISTING_MS
        item.body["tools"] = [dict(tool) for tool in session.scenario.mcp_tools.get(label, ())]
        session.emit("conversation.item.done", previous_item_id=previous_id, item=item.to_wire())
        session.emit("mcp_list_tools.completed", item_id=item.id)
