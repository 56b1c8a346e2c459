"""One session of the scripted Realtime server: the protocol, without a connection.

``Session.receive`` handles the client's frames. Events are passed to ``send``, and work that takes
time is passed to ``run`` as a generator of waits, so this module uses no socket and no clock.

Client events: https://platform.openai.com/docs/api-reference/realtime-client-events
Server events: https://platform.openai.com/docs/api-reference/realtime-server-events
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from otel_realtime.demo.generation import Response, ResponseOptions
from otel_realtime.demo.items import Item, ItemList, Tokens, item_tokens, text_tokens
from otel_realtime.demo.listening import Cancel, InputAudio
from otel_realtime.demo.mcp import McpServers
from otel_realtime.demo.scenario import Answer, McpCall, Scenario
from otel_realtime.demo.wire import (
    RESPONSE_KEYS,
    Json,
    RequestError,
    check_event,
    check_format,
    check_input,
    check_item,
    check_keys,
    new_id,
    new_session,
    parse,
    updated_session,
)


class Session:
    """The server's side of one session.

    Args:
        scenario: the words of the user's utterances and of the model's responses.
        send: called with each server event, in order.
        run: runs a generator of waits (milliseconds) in the background; returns a cancel function.
        kind: ``realtime`` or ``transcription``.
        model: the model that the client named.
        expires_at: ``session.expires_at``, seconds since the Unix epoch.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        send: Callable[[Json], None],
        run: Callable[[Iterator[float]], Cancel],
        kind: str,
        model: str,
        expires_at: int,
    ) -> None:
        self.scenario = scenario
        self.items = ItemList()
        self.session = new_session(
            kind=kind,
            model=model,
            voice=scenario.voice,
            instructions=scenario.instructions,
            vad=scenario.turn_detection,
            expires_at=expires_at,
        )
        self.conversation_id = new_id("conv")
        #: Runs a generator of waits (milliseconds) in the background.
        self.run = run
        self._send = send
        #: Responses in progress by id, each with its cancel function.
        self._running: dict[str, tuple[Response, Cancel]] = {}
        self._response_count = 0
        self._out_of_band_count = 0
        #: Input tokens of the last response: the prefix that the prompt cache may hold.
        self._last_input_tokens = Tokens()
        #: A turn ended while a response was active; it is answered when that response ends.
        self._response_due = False
        self.input = InputAudio(self)
        self._mcp = McpServers(self)

    def start(self) -> None:
        """Send ``session.created``."""
        self.emit("session.created", session=self.session)

    def receive(self, frame: str | bytes) -> None:
        """Handle a frame of the client; an invalid one is answered with an ``error`` event."""
        event: Json = {}
        try:
            event = parse(frame)
            check_event(event)
            _HANDLERS[event["type"]](self, event)
        except RequestError as error:
            self.emit("error", **error.event(event.get("event_id")))

    def emit(self, event_type: str, **fields: object) -> None:
        """Send an event to the client."""
        self._send({"type": event_type, "event_id": new_id("event"), **fields})

    # --- called by a response --------------------------------------------------------------------

    def open_item(self, item: Item) -> None:
        """Add an output item to the conversation and announce it."""
        previous_id = self.items.add(item)
        self.emit("conversation.item.added", previous_item_id=previous_id, item=item.to_wire())

    def close_item(self, item: Item) -> None:
        """Announce that an output item is done."""
        # As in recorded sessions: the service sends no previous_item_id for output items.
        self.emit("conversation.item.done", previous_item_id=None, item=item.to_wire())

    def needs_approval(self, call: McpCall) -> bool:
        """Return whether the client must approve a call of an MCP tool first."""
        return self._mcp.needs_approval(call)

    def approval_requested(self, item: Item, call: McpCall) -> None:
        """Wait for the client's answer to an ``mcp_approval_request`` item."""
        self._mcp.ask(item, call)

    def response_ended(self, response: Response) -> None:
        """Remove the response; go on with the next one, or wait for the user."""
        self._running.pop(response.id, None)
        if self.scenario.rate_limits:
            limit = {
                "name": "tokens",
                "limit": 15_000_000,
                "remaining": 14_999_000,
                "reset_seconds": 0.004,
            }
            self.emit("rate_limits.updated", rate_limits=[limit])
        if response.options.conversation_id is None:
            return
        if self._response_due or response.ran_mcp:
            # The model continues by itself with the result of an MCP call.
            self._response_due = False
            self.respond()
        else:
            self.input.start_idle_timer(response.unplayed_ms)

    # --- called by the input audio and by the MCP servers ----------------------------------------

    def announce(self, item: Item, previous_id: str | None) -> None:
        """Announce a new item that is complete."""
        self.emit("conversation.item.added", previous_item_id=previous_id, item=item.to_wire())
        self.emit("conversation.item.done", previous_item_id=previous_id, item=item.to_wire())

    def user_started(self) -> None:
        """Interrupt the response in progress, if the session's turn detection does that."""
        active = self._active_response()
        if active is not None and (self.input.turn_detection or {}).get("interrupt_response"):
            self._cancel(active, "turn_detected")

    def user_finished(self) -> None:
        """Answer the user, or the user's silence, if the session's turn detection does that."""
        creates = (self.input.turn_detection or {}).get("create_response")
        if creates and self.session["type"] != "transcription":
            self.respond()

    def respond(self, answer: Answer | None = None) -> None:
        """Start a response, or wait for the one in progress; by default the scenario's next one."""
        if self._active_response() is None:
            self._start_response({}, answer)
        else:
            self._response_due = True

    # --- session configuration -------------------------------------------------------------------

    def _update(self, event: Json) -> None:
        before = self.input.turn_detection
        self.session = updated_session(self.session, event["session"])
        # An unchanged detector keeps its state, so that an update during speech does not lose the turn.
        if self.input.turn_detection != before:
            self.input.reconfigured()
        self.emit("session.updated", session=self.session)
        self._mcp.list_tools()

    # --- items -----------------------------------------------------------------------------------

    def _create_item(self, event: Json) -> None:
        body = check_item(event["item"])
        if body["type"] == "function_call_output" and not self.items.has_function_call(
            body["call_id"]
        ):
            message = f"Tool call ID '{body['call_id']}' not found in conversation."
            raise RequestError("invalid_tool_call_id", message, "item.call_id")
        is_approval = body["type"] == "mcp_approval_response"
        if is_approval:
            self._mcp.check_answer(body)
        parts = [dict(part) for part in body.get("content", ())]
        audio = b"".join(self.input.decode(part.pop("audio", "")) for part in parts)
        wire: Json = {"id": body.get("id") or new_id("item"), "type": body["type"]}
        if body["type"] in ("message", "function_call"):
            wire["status"] = "completed"
        wire.update({key: value for key, value in body.items() if key not in ("id", "type")})
        if parts:
            wire["content"] = parts
        item = Item(wire, bytearray(audio))
        self.announce(item, self.items.add(item, event.get("previous_item_id")))
        if is_approval:
            self._mcp.answer(body)

    def _retrieve_item(self, event: Json) -> None:
        item = self.items.get(event["item_id"], "retrieving")
        wire = item.to_wire_with_audio(self.session["audio"])
        self.emit("conversation.item.retrieved", item=wire)

    def _delete_item(self, event: Json) -> None:
        self.items.delete(event["item_id"])
        self.emit("conversation.item.deleted", item_id=event["item_id"])

    def _truncate_item(self, event: Json) -> None:
        truncation = {key: event[key] for key in ("item_id", "content_index", "audio_end_ms")}
        self.items.truncate(**truncation)
        self.emit("conversation.item.truncated", **truncation)

    # --- responses -------------------------------------------------------------------------------

    def _active_response(self) -> Response | None:
        """Return the response in progress, ignoring out-of-band responses."""
        for response, _ in self._running.values():
            if response.options.conversation_id is not None:
                return response
        return None

    def _create_response(self, event: Json) -> None:
        overrides = check_keys(event.get("response") or {}, RESPONSE_KEYS, "response")
        active = self._active_response()
        if active is not None and overrides.get("conversation") != "none":
            message = (
                f"Conversation already has an active response in progress: {active.id}. "
                "Wait until the response is finished before creating a new one."
            )
            raise RequestError("conversation_already_has_active_response", message)
        self._start_response(overrides)

    def _next_answer(self, *, out_of_band: bool) -> Answer:
        """Return the scenario's next answer."""
        scenario = self.scenario
        if out_of_band and scenario.out_of_band_answers:
            answers = scenario.out_of_band_answers
            self._out_of_band_count += 1
            return answers[(self._out_of_band_count - 1) % len(answers)]
        self._response_count += 1
        return scenario.answer(self._response_count - 1)

    def _start_response(self, overrides: Mapping[str, Any], answer: Answer | None = None) -> None:
        """Start a response.

        Args:
            overrides: the ``response`` object of ``response.create``.
            answer: the model's answer; None: the scenario's next answer.
        """
        out_of_band = overrides.get("conversation") == "none"
        input_tokens = self._context_tokens(overrides)
        output_overrides = overrides.get("audio", {}).get("output", {})
        output = {
            **self.session["audio"]["output"],
            **{key: value for key, value in output_overrides.items() if value},
        }
        session = self.session
        options = ResponseOptions(
            modalities=tuple(overrides.get("output_modalities") or session["output_modalities"]),
            conversation_id=None if out_of_band else self.conversation_id,
            voice=output["voice"],
            audio_format=check_format(output["format"], "response.audio.output.format"),
            max_output_tokens=overrides.get("max_output_tokens") or session["max_output_tokens"],
            metadata=overrides.get("metadata"),
            input_tokens=input_tokens,
            cached_tokens=self._last_input_tokens.cached(),
        )
        if not out_of_band:
            self._last_input_tokens = input_tokens
            self.input.stop_idle_timer()
        scenario = self.scenario
        response = Response(
            answer or self._next_answer(out_of_band=out_of_band),
            options,
            self,
            delay_ms=scenario.answer_delay_ms,
            delta_ms=scenario.delta_ms,
            pace=scenario.audio_pace,
        )
        steps = response.steps()
        # The first step runs here, so that response.created precedes any other event.
        first_wait_ms = next(steps)
        self._running[response.id] = (response, self.run(_resume(first_wait_ms, steps)))

    def _context_tokens(self, overrides: Mapping[str, Any]) -> Tokens:
        instructions = overrides.get("instructions") or self.session["instructions"] or ""
        tokens = Tokens(text_tokens(f"{instructions}{self.session['tools'] or ''}"))
        given = overrides.get("input")
        if given is not None:
            items = [body for body in check_input(given) if body["type"] != "item_reference"]
            ids = [body["id"] for body in given if body["type"] == "item_reference"]
            tokens += Tokens(text_tokens(str(items) if items else ""))
            for item_id in ids:
                tokens += item_tokens(self.items.get(item_id, "retrieving"))
            return tokens
        for item in self.items:
            tokens += item_tokens(item)
        return tokens

    def _cancel(self, response: Response, reason: str) -> None:
        _, cancel = self._running[response.id]
        cancel()
        response.cancel(reason)

    def _cancel_response(self, event: Json) -> None:
        response_id = event.get("response_id")
        response = (
            self._active_response()
            if response_id is None
            else self._running.get(response_id, (None, None))[0]
        )
        if response is None:
            message = "Cancellation failed: no active response found"
            raise RequestError("response_cancel_not_active", message)
        self._cancel(response, "client_cancelled")


def _resume(first_wait_ms: float, steps: Iterator[float]) -> Iterator[float]:
    """Yield the wait of a step that has already run, then the remaining steps."""
    yield first_wait_ms
    yield from steps


_HANDLERS: Final[Mapping[str, Callable[[Session, Json], None]]] = {
    "session.update": Session._update,
    "input_audio_buffer.append": lambda session, event: session.input.append(event),
    "input_audio_buffer.commit": lambda session, event: session.input.commit(event),
    "input_audio_buffer.clear": lambda session, event: session.input.clear(event),
    "conversation.item.create": Session._create_item,
    "conversation.item.retrieve": Session._retrieve_item,
    "conversation.item.delete": Session._delete_item,
    "conversation.item.truncate": Session._truncate_item,
    "response.create": Session._create_response,
    "response.cancel": Session._cancel_response,
}
