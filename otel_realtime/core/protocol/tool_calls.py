"""The model's function calls, from their complete arguments to the client's output.

The events of one call, and the changes that are reported (``changes``)::

    response.function_call_arguments.done   the arguments are complete             ToolAnnounced
    response.output_item.done               the item repeats the arguments         ToolRepeated
      with status ``incomplete``            the call was cut off and is never run  ToolCut
    response.done                           the call waits for its output          ToolPending
      of a response out of band             the call cannot be answered            ToolOver
      of a response that ended early        the call was cut off, unless its item
                                            is complete                            ToolCut
    (the connection closes)                 nobody waits for the output            ToolOver
    client: function_call_output            answers the call by its ``call_id``    ToolAnswered

Any of the server's events may be missing, and any of them may come first. The output is often sent
before ``response.done`` arrives.
"""

from __future__ import annotations

from typing import Final

from otel_realtime.core.protocol.changes import (
    Change,
    ToolAnnounced,
    ToolAnswered,
    ToolCut,
    ToolOver,
    ToolPending,
    ToolRepeated,
)
from otel_realtime.core.protocol.events import JsonMapping
from otel_realtime.core.protocol.items import Item, Items
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.json_values import text_or_none
from otel_realtime.core.protocol.responses import Moment, Response, ToolCall
from otel_realtime.core.protocol.session import Counts

#: Statuses of a response that was ended before it was complete.
_ENDED_EARLY: Final = frozenset({"cancelled", "incomplete", "failed"})


class ToolCalls:
    """The function calls of one conversation.

    Args:
        counts: The counters; calls are counted whose arguments were complete and that were not cut off.

    Attributes:
        by_id: The calls by ``call_id``, including calls that the app runs before they are announced.
    """

    def __init__(self, counts: Counts) -> None:
        self.by_id: dict[str, ToolCall] = {}
        self._counts = counts
        self._waiting: dict[str, ToolCall] = {}  # announced; their response is not done yet

    def complete(self, item: Item, moment: Moment, turn: int) -> list[Change]:
        """Apply an event with the complete arguments of a call, or with the end of its item."""
        if item.call_id is None:
            return []
        call = self.by_id.get(item.call_id)
        if call is not None and call.is_over and call.item_id not in (None, item.id):
            call = None  # some models reuse the ``call_id`` of an earlier call
        # An incomplete call was cut off (by an interruption or a token limit), so nobody will run it.
        if item.status == "incomplete":
            return [] if call is None else self._cut(call)
        if call is None:
            call = self.by_id[item.call_id] = ToolCall(item.call_id)
        call.merge(item)
        if call.announced is not None:
            return [] if call.answered is not None else [ToolRepeated(call)]
        call.announced = moment
        call.turn = turn
        self._counts.tool_calls += 1
        self._waiting[call.id] = call
        return [ToolAnnounced(call)]

    def response_done(
        self, response: Response, items: Items, moment: Moment, turn: int
    ) -> list[Change]:
        """Apply the end of a response and report the outcome of its calls."""
        changes: list[Change] = []
        pending: dict[str, ToolCall] = {}
        completed: set[str] = set()
        for item in response.output_items(items):
            if item.kind == "function_call":
                # A repeated call is not reported as repeated: its outcome is reported below.
                found = self.complete(item, moment, turn)
                changes += (change for change in found if not isinstance(change, ToolRepeated))
                if item.call_id is not None and item.status == "completed":
                    completed.add(item.call_id)
        for call in list(self._waiting.values()):  # some servers do not list a response's output
            if call.response_id != response.id:
                continue
            del self._waiting[call.id]
            if call.answered is not None or call.cut:
                continue
            if response.status in _ENDED_EARLY and call.id not in completed:
                changes += self._cut(call)  # some servers omit the item's end
            else:
                pending[call.id] = call
        if response.out_of_band:
            for call in pending.values():
                call.over = moment
                changes.append(ToolOver(call))
        else:
            changes.extend(ToolPending(call, len(pending) == 1) for call in pending.values())
        return changes

    def disconnected(self, moment: Moment) -> list[Change]:
        """Apply the close of the connection: the model no longer waits for the results of its calls.

        The app may still send a result on its next connection.
        """
        self._waiting.clear()
        changes: list[Change] = []
        for call in self.by_id.values():
            if call.announced is not None and not call.is_over:
                call.over, call.lost = moment, True
                changes.append(ToolOver(call))
        return changes

    def _cut(self, call: ToolCall) -> list[Change]:
        if call.cut or call.answered is not None or call.announced is None:
            return []
        call.cut = True
        self._counts.tool_calls -= 1
        return [ToolCut(call)]

    def answer(self, source: JsonMapping, moment: Moment) -> list[Change]:
        """Apply a ``function_call_output`` that the client sends."""
        call = self.by_id.get(text_or_none(source.get("call_id")) or "")
        if call is None or call.answered is not None:
            return []  # the output of an unknown call belongs to seeded history
        output = source.get("output")
        if output is not None:
            call.output = output if isinstance(output, str) else dump(output)
        call.answered = moment
        if call.cut:  # the app ran it nevertheless
            call.cut = False
            self._counts.tool_calls += 1
        return [ToolAnswered(call)]
