"""The spans of one conversation: changes of its state become OpenTelemetry spans.

Spans carry explicit int times. An event's span lasts from its receipt until the app asks for
the next frame. Inference and transcription spans are written when they are complete, with
their true start and end, and tool spans that were answered early as well: nothing can nest in
what is over, and a span that is only written once cannot be left open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from otel_realtime import attributes as names
from otel_realtime.core.conversation import ConversationState, Transcribed
from otel_realtime.core.events import Event
from otel_realtime.core.payload import ContentPolicy
from otel_realtime.core.responses import AudioFacts, McpCall, Moment, Response, ToolCall
from otel_realtime.langsmith.stamping import TABLE
from otel_realtime.tracing import describe
from otel_realtime.tracing.context import child_context
from otel_realtime.tracing.describe import Attributes, Failure, Inference, Provider

NOT_ANSWERED: Final = Failure(
    "tool_not_answered", "the conversation ended before the app sent this call's result"
)


@dataclass(slots=True)
class OpenTool:
    """A tool span that waits for its result.

    Attributes:
        block: a ``call.tool()`` block runs or ran in it; its end is the block's.
        exit_ns: when that block ended.
        answered: the result was sent.
    """

    span: Span
    started: Moment
    block: bool = False
    exit_ns: int | None = None
    answered: bool = False


class ConversationSpans:
    """Writes the spans below one root."""

    def __init__(
        self,
        tracer: Tracer,
        root: Span,
        conversation: object,
        *,
        policy: ContentPolicy,
        provider: Provider,
        payload_limit: int,
        span_limit: int,
    ) -> None:
        self.policy = policy
        self._tracer = tracer
        self._provider = provider
        self._limit = payload_limit
        self._room = span_limit - 1
        #: A span below the root was started.
        self.begun = False
        self._conversation = conversation
        self._root_context = child_context(root, conversation)
        #: The span of the event that the app handles now.
        self.current: Span | None = None
        self._announced: dict[str, Context] = {}
        self._tools: dict[str, OpenTool] = {}
        #: ``call.tool()`` blocks that have not ended.
        self._blocks: dict[int, OpenTool] = {}
        self._turn = 0
        self.dropped = 0

    # -- events ------------------------------------------------------------------------------------

    def event(self, event: Event, payload: str, moment: Moment, turn: int) -> Span | None:
        """Open the span of a received event; None when the trace has no room for it."""
        failure = None
        self._turn = turn
        if event["type"] in _CAN_FAIL or event["type"].endswith(".failed"):
            failure = describe.event_failure(event, self.policy)
        if self._room <= 0 and failure is None:
            self.dropped += 1
            return None
        attributes = describe.event_attributes(event, payload, moment.t, turn)
        span = self._start(event["type"], self._root_context, attributes, moment.at_ns)
        if failure is not None:
            fail(span, failure, moment.at_ns)
        self.current = span
        return span

    def end_event(self, at_ns: int) -> None:
        """The app is done with the current event."""
        span, self.current = self.current, None
        if span is not None:
            finish(span, at_ns)

    def _start(
        self,
        name: str,
        parent: Context,
        attributes: Attributes,
        start_ns: int,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Span:
        self._room -= 1
        self.begun = True
        return self._tracer.start_span(
            name, context=parent, kind=kind, attributes=attributes, start_time=start_ns
        )

    # -- tools -------------------------------------------------------------------------------------

    def announce(self, call: ToolCall) -> None:
        """The current event's span is the parent if the call is answered early."""
        self._announced[call.id] = self._here()

    def _here(self) -> Context:
        if self.current is None:
            return self._root_context
        return child_context(self.current, self._conversation)

    def open_tool(self, call: ToolCall, moment: Moment) -> Span | None:
        """A call that its ``response.done`` left open: its span, child of that event's."""
        if call.id in self._tools:
            return None
        self._announced[call.id] = self._here()
        span = self._tool_span(call.id, call.name, call.arguments, moment, call.turn)
        self._tools[call.id] = OpenTool(span, moment)
        return span

    def _tool_span(
        self, call_id: str | None, name: str, arguments: str | None, started: Moment, turn: int
    ) -> Span:
        name = name or "unknown"
        attributes = describe.tool(call_id, name, arguments, self.policy, self._limit)
        attributes.update(describe.place(started, turn))
        parent = self._announced.get(call_id or "") or self._here()
        return self._start(f"execute_tool {name}", parent, attributes, started.at_ns)

    def answer(self, call: ToolCall, moment: Moment) -> float:
        """The client sent the result: end the call's span; returns its duration in s."""
        tool = self._tools.get(call.id)
        if tool is None:
            started = call.announced or moment
            span = self._tool_span(call.id, call.name, call.arguments, started, call.turn)
            tool = OpenTool(span, started)
        tool.answered = True
        tool.span.set_attributes(describe.tool_result(call.output, self.policy, self._limit))
        end_ns = tool.exit_ns if tool.exit_ns is not None else moment.at_ns
        if not tool.block or tool.exit_ns is not None:
            self._end_tool(call, tool, end_ns)
        return max(end_ns - tool.started.at_ns, 0) / 1e9

    def _end_tool(self, call: ToolCall, tool: OpenTool, end_ns: int) -> None:
        finish(tool.span, end_ns)
        self._tools.pop(call.id, None)
        self._announced.pop(call.id, None)

    def enter_tool(
        self, call: ToolCall | None, name: str | None, arguments: str | None, moment: Moment
    ) -> OpenTool:
        """``call.tool()``: the exact span of a tool, from entry to ``leave_tool``."""
        call_id = call.id if call is not None else None
        turn = self._turn
        if call is not None:
            turn = call.turn or turn
            name = name or call.name
        if arguments is not None:
            arguments = describe.admitted_arguments(call_id, name, arguments, self.policy)
        elif call is not None:
            arguments = call.arguments
        waiting = self._tools.get(call_id) if call_id else None
        if waiting is not None and not waiting.block and has_children(waiting.span):
            waiting.block = True
            self._blocks[id(waiting)] = waiting
            return waiting  # spans hang under it already: it cannot start later than they do
        span = self._tool_span(call_id, name or "", arguments, moment, turn)
        entered = OpenTool(span, moment, block=True)
        self._blocks[id(entered)] = entered
        if call_id:
            self._tools[call_id] = entered
            if waiting is not None and not waiting.block:  # never ended, it is never exported
                TABLE.discard(waiting.span.get_span_context().span_id)
        return entered

    def leave_tool(self, call: ToolCall | None, entered: OpenTool, at_ns: int) -> None:
        """The block ended. The span waits for the result, unless none can come."""
        if self._blocks.pop(id(entered), None) is None:
            return  # it ended with the conversation
        entered.exit_ns = max(at_ns, entered.started.at_ns)
        if call is None or self._tools.get(call.id) is not entered:
            finish(entered.span, entered.exit_ns)
        elif entered.answered:
            self._end_tool(call, entered, entered.exit_ns)

    def pending_tool(self, call_id: str) -> OpenTool | None:
        """The open span of a call, if there is one."""
        return self._tools.get(call_id)

    def _end_tools(self, at_ns: int) -> None:
        for entered in self._tools.values():
            if entered.exit_ns is None and not entered.answered:
                fail(entered.span, NOT_ANSWERED, max(at_ns, entered.started.at_ns))
            finish(entered.span, entered.exit_ns or at_ns)
        for block in self._blocks.values():
            if block.span.is_recording():
                finish(block.span, at_ns)
        self._tools.clear()
        self._blocks.clear()

    # -- model calls -------------------------------------------------------------------------------

    def inference(
        self, response: Response, state: ConversationState, audio: AudioFacts | None, now_ns: int
    ) -> Inference:
        """Write a settled response as one span, and its server-side tool calls below it."""
        found = describe.inference(response, state, audio, self.policy, self._provider, self._limit)
        start_ns = response.created.at_ns
        end_ns = max(response.done.at_ns if response.done else now_ns, start_ns)
        span = self._start(
            found.name, self._root_context, found.attributes, start_ns, SpanKind.CLIENT
        )
        if found.failure is not None:
            fail(span, found.failure, end_ns)
        for call in response.mcp.values():
            self._mcp(call, state, span, end_ns, response.turn)
        finish(span, end_ns)
        return found

    def _mcp(
        self, call: McpCall, state: ConversationState, parent: Span, end_ns: int, turn: int
    ) -> None:
        item = state.items.get(call.item_id)
        if item is None:
            return
        attributes = describe.mcp_tool(item, self.policy, self._limit)
        attributes.update(describe.place(call.started, turn))
        below = child_context(parent, self._conversation)
        name = f"execute_tool {item.name or 'unknown'}"
        span = self._start(name, below, attributes, call.started.at_ns)
        ended_ns = max(call.ended.at_ns if call.ended else end_ns, call.started.at_ns)
        if call.failed or item.error:
            fail(span, describe.mcp_failure(item, self.policy), ended_ns)
        finish(span, ended_ns)

    def transcription(self, change: Transcribed, moment: Moment) -> Attributes:
        """Write one call of the transcription model."""
        attributes = describe.transcription(change, self.policy, self._provider, self._limit)
        name = f"transcribe {change.model}"
        span = self._start(name, self._root_context, attributes, change.started_ns, SpanKind.CLIENT)
        end_ns = max(moment.at_ns, change.started_ns)
        if change.failed:
            failure = describe.event_failure(change.event, self.policy)
            fail(span, failure or Failure("transcription_failed", "no transcript"), end_ns)
        finish(span, end_ns)
        return attributes

    def close(self, at_ns: int) -> None:
        """End what is still open below the root."""
        self.end_event(at_ns)
        self._end_tools(at_ns)
        self._announced.clear()

    def drop(self) -> None:
        """In a fork's child: let go of everything that is open, without ending it."""
        self.current = None
        self._tools.clear()
        self._blocks.clear()
        self._announced.clear()


#: Types that can report a failure without being named ``*.failed``.
_CAN_FAIL: Final = frozenset({"error", "response.done"})


def has_children(span: Span) -> bool:
    """True if a span was started below this one."""
    own = TABLE.get(span.get_span_context().span_id)
    if own is None:
        return True  # not stamped: nothing is known, so nothing is thrown away
    for span_id in reversed(own.trace.span_ids):
        stamp = TABLE.get(span_id)
        if stamp is own:
            return False
        if stamp is not None and stamp.parent_run_id == own.run_id:
            return True
    return False


def finish(span: Span, at_ns: int) -> None:
    """End a span, at the earliest 1 ns after its start: Jaeger warns of a span without length."""
    span.end(max(at_ns, (getattr(span, "start_time", None) or 0) + 1))


def fail(span: Span, failure: Failure, at_ns: int, stacktrace: str | None = None) -> None:
    """Mark a span as failed; LangSmith reads only the ``exception`` event."""
    said = {"exception.type": failure.type, "exception.message": failure.message}
    if stacktrace is not None:
        said["exception.stacktrace"] = stacktrace
    span.set_attribute(names.ERROR_TYPE, failure.type)
    span.set_status(Status(StatusCode.ERROR, failure.message))
    span.add_event("exception", said, timestamp=at_ns)
