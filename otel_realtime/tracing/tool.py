"""Tool spans: announced by the model, run by the app, ended by the result that the app sends.

The wire shows the request and the result. When the app began must be inferred from evidence::

    response.function_call_arguments.done   the call's arguments are complete: its span opens under
                                            this event, and is current while the app handles it
      (a span starts below it)              the app is running the tool: the span stays
    response.done                           nothing has happened: the span restarts, under this event
      call.tool(call_id)                    the app starts the tool now: the span starts here, exactly
      (block left)                          the exact end is known
    conversation.item.create                function_call_output is sent: the span ends, with the result

A span *restarts* in place (see ``restart``): code that inherited it as the current span stays below
it. An adapter for a framework (``tap``) does what ``call.tool()`` does. A call that is cut off has no
span in the end. The span of a call that nobody can answer (out of band) ends with its response.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, get_current_span

from otel_realtime import attributes as names
from otel_realtime.core.protocol.outcome import Failure
from otel_realtime.core.protocol.responses import Moment, ToolCall
from otel_realtime.tracing.activation import NativeParents
from otel_realtime.tracing.facts import allowed, position_facts
from otel_realtime.tracing.failure import fail
from otel_realtime.tracing.members import TABLE, note_again
from otel_realtime.tracing.restart import has_children, restart
from otel_realtime.tracing.tool_facts import (
    UNKNOWN,
    admitted_arguments,
    timing_facts,
    tool_attributes,
    tool_result,
)
from otel_realtime.tracing.writer import SpanWriter, finish

#: Failure of a call whose result was never sent.
NOT_ANSWERED: Final = Failure(
    "tool_not_answered", "the conversation ended before the app sent this call's result"
)
#: Maximum number of out-of-band calls whose spans stay open in case the app answers them after all.
MAX_OVER: Final = 16

Measure = Callable[[float, str, "str | None"], None]
"""Record the duration of a tool in seconds, its name, and the type of its failure."""


@dataclass(slots=True, eq=False)
class OpenTool:
    """A tool span that has not ended.

    Attributes:
        span: the span.
        name: name of the tool.
        call: the model's call; ``None`` for a tool that the model did not call.
        parent: context of the span's parent.
        started: when it started.
        timing: ``names.TIMING_EXACT`` if it began with a block, else ``names.TIMING_WIRE``.
        blocks: number of ``call.tool()`` blocks that are running in it.
        adapted: the block belongs to a framework and was entered by an adapter.
        exit_ns: when its last block was left, epoch ns; ``None`` before.
        failure: type of the exception that left the block.
        before: the span of an earlier block for the same call, which also waits for the result.
        run: the span for ``NativeParents``.
    """

    span: Span
    name: str
    call: ToolCall | None
    parent: Context
    started: Moment
    timing: str = names.TIMING_WIRE
    blocks: int = 0
    adapted: bool = False
    exit_ns: int | None = None
    failure: str | None = None
    before: OpenTool | None = None
    run: object = None

    @property
    def bracketed(self) -> bool:
        """Whether a block is or was running in it; the span then ends with the block."""
        return self.blocks > 0 or self.exit_ns is not None


class ToolSpans:
    """The tool spans of one conversation.

    Called with the conversation's lock held, because a tool may run in a thread of its own.

    Args:
        writer: the conversation's span writer.
        measure: records the duration of each tool.
        native: another library's context of the current parent; ``None`` if there is none.

    Attributes:
        ended: number of spans that have ended and so are exported.
    """

    def __init__(
        self, writer: SpanWriter, measure: Measure, native: NativeParents | None = None
    ) -> None:
        self.ended = 0
        self._writer = writer
        self._measure = measure
        self._native = native
        self._calls: dict[str, OpenTool] = {}
        # Blocks that have not been left, by identity: those without a ``call_id`` are only here.
        self._blocks: dict[int, OpenTool] = {}
        self._over: list[str] = []

    # -- events on the wire --------------------------------------------------------------------------

    def announce(self, call: ToolCall, moment: Moment) -> Span | None:
        """Open the span of a call whose arguments are complete, below the current event's span.

        Args:
            call: the call.
            moment: receipt of the event.

        Returns:
            The span to make current; ``None`` if the app already runs the tool.
        """
        tool = self._calls.get(call.id)
        if tool is not None and tool.call is not call:  # the id of an earlier call is used again
            del self._calls[call.id]
            self._end_unanswered(tool, moment.at_ns)
            tool = None
        if tool is not None:  # the app was faster: it has already entered ``call.tool()``
            self._complete(tool, call)
            return None
        parent = self._writer.current_context()
        tool = self._open(call, call.name, call.arguments, parent, moment, call.turn)
        self._calls[call.id] = tool
        return tool.span

    def repeat(self, call: ToolCall) -> Span | None:
        """Return the span to make current at another event with the same call.

        Apps also run tools at ``response.output_item.done``. ``None`` if this tool is already running.
        """
        tool = self._calls.get(call.id)
        return tool.span if tool is not None and not self._is_running(tool) else None

    def pend(self, call: ToolCall, moment: Moment) -> Span | None:
        """Restart a call's span at ``response.done``, below that event's span, if it is not running yet.

        Args:
            call: the call, which has not been answered.
            moment: receipt of ``response.done``.

        Returns:
            The span to make current; ``None`` if the tool is running.
        """
        tool = self._calls.get(call.id)
        if tool is None or self._is_running(tool):
            return None
        if tool.started is not moment:  # otherwise it was announced by this very event
            self._begin_anew(tool, moment, self._writer.current_context())
        return tool.span

    def cut(self, call: ToolCall) -> None:
        """Give up the span of a call that was cut off, unless something still happens below it."""
        tool = self._calls.get(call.id)
        if tool is not None and not self._is_running(tool):
            TABLE.renounce(_span_id(tool.span))

    def leave_over(self, call: ToolCall) -> None:
        """Note a call that nobody can answer; its span will end with its response.

        The span is finished later, with that end time, because an app may still answer the call.
        """
        self._over.append(call.id)
        if len(self._over) > MAX_OVER:
            oldest = self._over.pop(0)
            tool = self._calls.get(oldest)
            if tool is not None and not tool.blocks:
                del self._calls[oldest]
                self._end_unanswered(tool, 0)

    def answer(self, call: ToolCall, moment: Moment) -> None:
        """End the span of a call whose result the client has sent.

        Args:
            call: the call, with its result.
            moment: when the result was sent.
        """
        tool = self._calls.pop(call.id, None)
        if tool is None:  # not announced while the conversation was open
            started = call.announced or moment
            tool = self._open(
                call, call.name, call.arguments, self._writer.root, started, call.turn
            )
        writer = self._writer
        result = tool_result(call.output, writer.policy, writer.limit)
        tool.span.set_attributes(allowed(result, writer.policy))
        each: OpenTool | None = tool
        while each is not None:
            # If the result was sent from within the block, the span ends with the block, which may
            # do other work.
            if not each.blocks:
                self._finish(each, moment.at_ns if each.exit_ns is None else each.exit_ns)
            each = each.before

    # -- blocks of the app ---------------------------------------------------------------------------

    def enter(
        self,
        call: ToolCall | None,
        name: str | None,
        arguments: str | None,
        moment: Moment,
        *,
        adapted: bool = False,
    ) -> OpenTool:
        """Enter a ``call.tool()`` block: the exact span of a tool starts.

        Args:
            call: the model's call; ``None`` for a tool that the model did not call.
            name: name of the tool; ``None``: the call's.
            arguments: JSON text of the arguments; ``None``: the call's.
            moment: entry into the block.
            adapted: an adapter enters the block for a framework.

        Returns:
            The object to pass to ``leave``.
        """
        call_id = call.id if call is not None else None
        name = name or (call.name if call is not None else None)
        if arguments is not None:
            arguments = admitted_arguments(call_id, name, arguments, self._writer.policy)
        waiting = self._calls.get(call_id) if call_id else None
        if waiting is not None and waiting.adapted and waiting.blocks:
            waiting.blocks += 1  # the app's own block inside its framework's
            return waiting
        if waiting is not None and not waiting.bracketed:
            entered = self._enter_waiting(waiting, name, arguments, moment)
        else:
            if arguments is None and call is not None and call.announced is not None:
                arguments = call.arguments
            turn = (call.turn if call is not None else 0) or self._writer.turn
            parent = waiting.parent if waiting is not None else self._writer.current_context()
            entered = self._open(
                call, name or "", arguments, parent, moment, turn, names.TIMING_EXACT
            )
            entered.before = waiting
            if call_id:
                self._calls[call_id] = entered
        entered.adapted = adapted
        entered.blocks = 1
        self._blocks[id(entered)] = entered
        return entered

    def _enter_waiting(
        self, tool: OpenTool, name: str | None, arguments: str | None, moment: Moment
    ) -> OpenTool:
        """Restart a call's span at the start of the block, unless the app started spans below it."""
        if not self._is_running(tool):
            tool.timing = names.TIMING_EXACT
            self._begin_anew(tool, moment, tool.parent)
        if name and name != tool.name:
            tool.name = name
            tool.span.update_name(f"execute_tool {name}")
            tool.span.set_attribute(names.TOOL_NAME, name)
        if arguments is not None:
            writer, call_id = self._writer, tool.call.id if tool.call is not None else None
            told = tool_attributes(call_id, tool.name, arguments, writer.policy, writer.limit)
            tool.span.set_attributes(allowed(told, writer.policy))
        note_again(tool.span)
        return tool

    def leave(self, entered: OpenTool, at_ns: int, failure: str | None = None) -> None:
        """Leave a ``call.tool()`` block: end the span, or keep it open until the result is sent.

        Args:
            entered: what ``enter`` returned.
            at_ns: when the block was left, epoch ns.
            failure: type of the exception that left it; the span already records it.
        """
        entered.failure = entered.failure or failure
        entered.blocks -= 1
        if entered.blocks or self._blocks.pop(id(entered), None) is None:
            return  # an inner block, or the conversation and the span were closed in the meantime
        entered.exit_ns = max(at_ns, entered.started.at_ns)
        call = entered.call
        if call is None or call.answered is not None:
            self._finish(entered, entered.exit_ns)
            if call is not None and self._calls.get(call.id) is entered:
                del self._calls[call.id]

    # -- spans from others ---------------------------------------------------------------------------

    def running(self, call_id: str, name: str) -> SpanContext | None:
        """Return the parent for work of a tool that was started without one.

        This is the only method that needs no lock: any span of the process may call it, on any thread,
        and copying the values of a ``dict`` is atomic.

        Args:
            call_id: the call that the work says it is for; may be empty.
            name: the tool that the work names, or the work's own name.

        Returns:
            Context of that call's span; without an id, of the only waiting tool with that name, else of
            the only waiting tool; of the root if that is unclear; ``None`` if no tool is waiting.
        """
        waiting = [
            tool
            for tool in list(self._calls.values())
            if tool.exit_ns is None and tool.call is not None and not tool.call.cut
        ]
        called = [tool for tool in waiting if tool.call is not None and tool.call.id == call_id]
        named = [tool for tool in waiting if name in (tool.name, f"execute_tool {tool.name}")]
        for possible in (called,) if call_id else (named, waiting):
            if len(possible) == 1:
                return possible[0].span.get_span_context()
        return get_current_span(self._writer.root).get_span_context() if waiting else None

    # -- the end -------------------------------------------------------------------------------------

    def close(self, at_ns: int) -> None:
        """End all open spans at the end of the conversation; unanswered calls count as failed.

        Args:
            at_ns: end of the conversation, epoch ns.
        """
        for tool in list(self._calls.values()):
            self._end_unanswered(tool, at_ns)
        for block in list(self._blocks.values()):
            if block.span.is_recording():
                self._finish(block, at_ns)
        self.drop()

    def drop(self) -> None:
        """Forget all spans without ending them, at the close and in a forked child."""
        self._calls.clear()
        self._blocks.clear()
        self._over.clear()

    def _end_unanswered(self, tool: OpenTool, closed_ns: int) -> None:
        """End a call's spans without a result.

        Args:
            tool: its latest span.
            closed_ns: end of the conversation, epoch ns; not used for a call that is over.
        """
        each: OpenTool | None = tool
        while each is not None:
            call = each.call
            if call is not None and call.cut and not self._is_running(each):
                TABLE.discard(_span_id(each.span))
            else:
                over = call.over if call is not None and not each.blocks else None
                end_ns = each.exit_ns or (closed_ns if over is None else over.at_ns)
                end_ns = max(end_ns, each.started.at_ns)
                if call is not None and call.is_missed and each.failure is None:
                    each.failure = NOT_ANSWERED.type
                    fail(each.span, NOT_ANSWERED, end_ns)
                self._finish(each, end_ns, closed_ns)
            each = each.before

    def context_of(self, call_id: str | None) -> Context | None:
        """Return the context for children of an open call's span; ``None`` if there is none."""
        tool = self._calls.get(call_id) if call_id else None
        return self._writer.context_below(tool.span) if tool is not None else None

    # -- for other libraries' contexts of parents ----------------------------------------------------

    def run_of(self, span: Span) -> object:
        """Return the run that ``keep_run`` stored for an open tool's span; ``None`` if there is none."""
        tool = self._of(span)
        return tool.run if tool is not None else None

    def keep_run(self, span: Span, run: object) -> None:
        """Store a span's run for ``NativeParents``, if the span is that of an open tool."""
        tool = self._of(span)
        if tool is not None:
            tool.run = run

    def _of(self, span: Span) -> OpenTool | None:
        return next((tool for tool in self._calls.values() if tool.span is span), None)

    # -- spans ---------------------------------------------------------------------------------------

    def _open(
        self,
        call: ToolCall | None,
        name: str,
        arguments: str | None,
        parent: Context,
        started: Moment,
        turn: int,
        timing: str = names.TIMING_WIRE,
    ) -> OpenTool:
        writer, name = self._writer, name or UNKNOWN
        call_id = call.id if call is not None else None
        attributes = tool_attributes(call_id, name, arguments, writer.policy, writer.limit)
        attributes.update(position_facts(started, turn))
        attributes.update(timing_facts(timing, None, None))
        span = writer.start(f"execute_tool {name}", parent, attributes, started.at_ns)
        return OpenTool(span, name, call, parent, started, timing)

    def _complete(self, tool: OpenTool, call: ToolCall) -> None:
        """Complete the span of a tool that was entered before its call was announced."""
        writer, tool.call = self._writer, call
        if tool.name == UNKNOWN and call.name:
            tool.name = call.name
            tool.span.update_name(f"execute_tool {call.name}")
        told = names.TOOL_ARGUMENTS in (getattr(tool.span, "attributes", None) or ())
        arguments = None if told else call.arguments
        known = tool_attributes(call.id, tool.name, arguments, writer.policy, writer.limit)
        tool.span.set_attributes(allowed(known, writer.policy))
        note_again(tool.span)

    def _is_running(self, tool: OpenTool) -> bool:
        """Return whether there is evidence that the app runs the tool: a block, or a child span."""
        if tool.bracketed or has_children(_span_id(tool.span)):
            return True
        return self._native is not None and tool.run is not None and self._native.used(tool.run)

    def _begin_anew(self, tool: OpenTool, moment: Moment, parent: Context) -> None:
        """Restart a span below which nothing has happened, now and below another parent."""
        turn = (tool.call.turn if tool.call is not None else 0) or self._writer.turn
        # Set the attributes first: the journal takes them from the span.
        tool.span.set_attributes(position_facts(moment, turn))
        tool.span.set_attributes(timing_facts(tool.timing, None, None))
        if restart(tool.span, get_current_span(parent), moment.at_ns):
            if self._native is not None and tool.run is not None:
                self._native.restarted(tool.run, tool.span)
        else:  # another SDK's span: the old one is never ended, and so never exported
            call = tool.call
            arguments = call.arguments if call is not None else None
            TABLE.discard(_span_id(tool.span))
            again = self._open(call, tool.name, arguments, parent, moment, turn, tool.timing)
            tool.span, tool.run = again.span, None
        tool.parent, tool.started = parent, moment

    def _finish(self, tool: OpenTool, end_ns: int, closed_ns: int | None = None) -> None:
        """End a span; ``closed_ns`` is the end of the conversation, if nobody can answer any more."""
        call, timing = tool.call, tool.timing
        if timing != names.TIMING_EXACT and self._is_running(tool):
            timing = names.TIMING_OBSERVED
        until_ns = closed_ns
        if call is not None and call.answered is not None:
            until_ns = call.answered.at_ns
        elif call is not None and call.over is not None:
            # Nobody can answer it: there is no waiting time, unless its connection closed.
            until_ns = call.over.at_ns if call.lost else None
        asked = call.announced if call is not None else None
        tool.span.set_attributes(timing_facts(timing, asked, until_ns))
        finish(tool.span, end_ns)
        self.ended += 1
        self._measure(max(end_ns - tool.started.at_ns, 0) / 1e9, tool.name, tool.failure)


def _span_id(span: Span) -> int:
    return span.get_span_context().span_id
