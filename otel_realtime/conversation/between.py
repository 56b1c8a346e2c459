"""A conversation between two sockets: one socket has closed, and another may continue it.

In between, the conversation stays open: audio continues to play and tools continue to run. Its
responses are not written yet, because how much of them is heard depends on what comes next::

    carried --part--> between --join--> carried
                         |
                         +--end--> ended when, and how, the socket closed

Anything the server had begun on the closed socket is over in any case (``ConversationState.disconnected``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from otel_realtime import diagnostics
from otel_realtime.conversation.endings import ended_by_close
from otel_realtime.core.protocol.outcome import Ending, Failure, Gap
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.interrupts import let_through
from otel_realtime.tracing.gap import write_gap

if TYPE_CHECKING:
    from otel_realtime.conversation.frames import Frames
    from otel_realtime.tap.interface import Close
    from otel_realtime.tracing.trace import Trace


@dataclass(frozen=True, slots=True)
class Parted:
    """The close of the latest socket.

    Attributes:
        ending: how the socket closed; the ending of the conversation if no other socket continues it.
        moment: when the socket closed.
        close: ``ending`` without the reconnection attempts that were refused since.
        refused: number of those refused attempts.
    """

    ending: Ending
    moment: Moment
    close: Ending
    refused: int = 0


class Between:
    """Handles one conversation between two sockets.

    Args:
        trace: trace of the conversation.
        frames: handles the conversation's frames.

    Attributes:
        parted: the close of the latest socket; ``None`` while a socket carries the conversation.
    """

    def __init__(self, trace: Trace, frames: Frames) -> None:
        self.parted: Parted | None = None
        self._trace = trace
        self._frames = frames

    def part(self, close: Close) -> bool:
        """Note that the socket has closed.

        Args:
            close: how it closed.

        Returns:
            ``False`` if the conversation has already ended.
        """
        trace, frames = self._trace, self._frames
        ending = ended_by_close(close, trace.writer.policy)
        with frames.lock:
            recorder = frames.recorder
            if frames.closed or recorder is None:
                return False
            if self.parted is not None:  # the SDK could not reopen the connection
                return True
            moment = trace.clock.end()
            frames.keep_texts(moment)
            trace.events.end(moment.at_ns)
            self._note(Parted(ending, moment, ending))
            recorder.lose(moment.t)
            frames.disconnected(moment)
        if trace.activation.attached:  # give this task the app's own context back
            trace.activation.leave()
        return True

    def refused(self, failure: Failure) -> None:
        """Note that the server refused an attempt to continue on a new socket."""
        with self._frames.lock:
            parted = self.parted
            if parted is None or self._frames.closed:
                return
            before = parted.close.failure
            if before is not None:
                failure = Failure(before.type, f"{before.message}; then {failure.message}")
            ending = replace(parted.close, failure=failure)
            self._note(replace(parted, ending=ending, refused=parted.refused + 1))

    def join(self) -> bool:
        """Continue on another socket; return ``False`` if the conversation has ended."""
        trace, frames = self._trace, self._frames
        with frames.lock:
            recorder, parted = frames.recorder, self.parted
            if frames.closed or recorder is None:
                return False
            if parted is None:
                return True
            moment, failure = trace.clock.moment(), parted.ending.failure
            self.parted = None
            number = frames.state.counts.reconnected(None if failure is None else failure.type)
            frames.notes.joined(moment, parted.refused)
            recorder.regain(moment.t)
            gap = Gap(
                number=number,
                ending=parted.ending,
                began=parted.moment,
                ended=moment,
                refused=parted.refused,
            )
            try:
                write_gap(trace.writer, gap)
            except BaseException as error:  # noqa: BLE001 - a span processor failed; carry on
                let_through(error)
                diagnostics.report("joining", error)
        return True

    def _note(self, parted: Parted) -> None:
        """Store the close, also in the journal, where a recovery finds it if this process is killed."""
        trace, frames = self._trace, self._frames
        self.parted = parted
        frames.notes.parted(
            parted.ending,
            parted.moment,
            frames.state.counts.events,
            trace.events.dropped,
            otlp=trace.refused,
        )
