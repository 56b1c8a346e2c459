"""Convert the events of a Live session to those of a Realtime conversation.

A Live model delegates: another model does the work, through the Responses API or the Decision API, and
the session forwards that model's events inside its own (``response.event``, ``decision.event``). The
work of the other model is read as a response of a Realtime conversation: it has a model, usage and
function calls. Its text is read by the Live model and not spoken, so it belongs to no turn.

==============================  ========================================================================
on the wire                     for the state machine
==============================  ========================================================================
``response.event``              the inner event, with the id of its response, which the Responses API
                                sends only at the start; ``response.completed`` and the like become
                                ``response.done``
``decision.event``              a response that is created and done at once
``response.item.create``        ``conversation.item.create``
``error``                       ``error.client_event_id`` becomes ``error.event_id``
``session.started``             ``session.created`` (renamed by the table in ``dialects``)
==============================  ========================================================================

Sources: the types of the ``openai`` package (3.57), ``types/live`` and ``types/responses``;
https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from otel_realtime.core.protocol.events import Event, JsonMapping, JsonObject
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.json_values import object_or_empty, text_or_none

#: Event that ends a response in the Responses API -> status of the response.
_ENDS: Final[Mapping[str, str]] = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
#: Events that carry the current response object; the first one that arrives begins the response.
_BEGINS: Final = frozenset({"response.created", "response.queued", "response.in_progress"})
#: Prefix of the events about lists of MCP tools; a Realtime server omits ``response.``.
_OF_MCP_LISTS: Final = "response.mcp_list_tools."
#: Maximum number of delegations remembered; nothing reports the end of one that the client handles.
_MOST_OPEN: Final = 256


class LiveReader:
    """Converts the events of one Live session.

    Args:
        reflected: Whether the socket is a sideband, where the session's audio format does not apply.
    """

    def __init__(self, *, reflected: bool = False) -> None:
        self._reflected = reflected
        self._responses: dict[str | None, str] = {}  # id by delegation

    def received(self, event: Event) -> list[Event]:
        """Convert an event of the server to events that the state machine knows."""
        rule = _RECEIVED.get(event["type"])
        return [event] if rule is None else rule(self, event)

    def sent(self, event: Event) -> list[Event]:
        """Convert an event of the client to events that the state machine knows."""
        if event["type"] == "response.item.create":
            return [{**event, "type": "conversation.item.create"}]
        return [event]

    def _session(self, event: Event) -> list[Event]:
        session = event.get("session")
        if not self._reflected or not isinstance(session, dict):
            return [event]
        audio = {k: v for k, v in object_or_empty(session.get("audio")).items() if k != "format"}
        return [{**event, "session": {**session, "audio": audio}}]

    def _error(self, event: Event) -> list[Event]:
        error = object_or_empty(event.get("error"))
        named = error.get("client_event_id")
        return [event if named is None else {**event, "error": {**error, "event_id": named}}]

    def _response_event(self, event: Event) -> list[Event]:
        inner = object_or_empty(event.get("event"))
        kind = text_or_none(inner.get("type"))
        if kind is None:
            return []
        delegation = text_or_none(event.get("delegation_id"))
        source = object_or_empty(inner.get("response"))
        response_id = text_or_none(source.get("id"))
        if kind in _BEGINS or kind in _ENDS:
            if response_id is None:
                return []
            begun = self._responses.get(delegation) == response_id
            self._begin(delegation, response_id)
            if kind in _ENDS:
                return [_done(source, _ENDS[kind], delegation)]
            return [] if begun else [_created(source, delegation)]
        if kind == "error":
            return [{"type": "error", "error": dict(inner)}]
        if kind.startswith(_OF_MCP_LISTS):
            kind = kind.removeprefix("response.")
        named = text_or_none(inner.get("response_id")) or self._responses.get(delegation)
        return [{**inner, "type": kind, "response_id": named}]

    def _begin(self, delegation: str | None, response_id: str) -> None:
        self._responses.pop(delegation, None)
        self._responses[delegation] = response_id
        if len(self._responses) > _MOST_OPEN:
            del self._responses[next(iter(self._responses))]

    def _decision_event(self, event: Event) -> list[Event]:
        decision = object_or_empty(object_or_empty(event.get("event")).get("decision"))
        name = text_or_none(event.get("event_id")) or text_or_none(event.get("trigger_id"))
        if not decision or name is None:
            return []
        source: JsonObject = {
            "id": name,
            "model": decision.get("model"),
            "usage": decision.get("usage"),
            "output": [
                {
                    "id": f"{name}_answers",
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": dump(decision.get("answers"))}],
                }
            ],
        }
        delegation = text_or_none(event.get("delegation_id"))
        return [_created(source, delegation), _done(source, "completed", delegation)]


_Rule = Callable[[LiveReader, Event], "list[Event]"]
_RECEIVED: Final[Mapping[str, _Rule]] = {
    "session.started": LiveReader._session,
    "session.updated": LiveReader._session,
    "session.closed": LiveReader._session,
    "error": LiveReader._error,
    "response.event": LiveReader._response_event,
    "decision.event": LiveReader._decision_event,
}


def _created(source: JsonMapping, delegation: str | None) -> Event:
    # ``metadata`` is omitted, because the client's ``response.create`` that continues a delegation has none.
    response = {key: source[key] for key in ("id", "model", "reasoning") if key in source}
    return {
        "type": "response.created",
        "response": response,
        "delegated": True,
        "delegation_id": delegation,
    }


def _done(source: JsonMapping, status: str, delegation: str | None) -> Event:
    details: JsonObject = {}
    incomplete = object_or_empty(source.get("incomplete_details"))
    if incomplete:
        details["reason"] = incomplete.get("reason")
    error = object_or_empty(source.get("error"))
    if error:
        details["error"] = dict(error)
    response: JsonObject = {
        **source,
        "status": text_or_none(source.get("status")) or status,
        "status_details": details,
        "usage": _usage(source.get("usage")),
    }
    return {
        "type": "response.done",
        "response": response,
        "delegated": True,
        "delegation_id": delegation,
    }


def _usage(usage: object) -> object:
    """Convert usage of the Responses API to a Realtime server's, which names the details differently."""
    if not isinstance(usage, dict):
        return None
    named = {
        "input_token_details": usage.get("input_tokens_details"),
        "output_token_details": usage.get("output_tokens_details"),
    }
    return {**usage, **{key: value for key, value in named.items() if isinstance(value, dict)}}
