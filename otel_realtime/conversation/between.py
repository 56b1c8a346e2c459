"""A conversation between two sockets: one has closed, and another one may go on.

Until then the conversation is open: what plays goes on playing, a tool goes on running, and its
responses wait to be written, for whether they are heard depends on what comes::

    carried --part--> between --join--> carried
                         |
                         +--end--> ended when, and how, the socket closed

What the server had begun on the socket is over with it in any case (``ConversationState.disconnected``).
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
    """The latest socket has closed.

    Attributes:
        ending: how it closed: the end of the conversation if no other one goes on.
        moment: when.
        close: the same without the attempts to go on that were refused since.
        refused: how many these were.
    """

    ending: Ending
    moment: Moment
    close: Ending
    refused: int = 0


class Between:
    """What happens to one conversation between two sockets.

    Args:
        trace: its trace.
        frames: handles its frames.

    Attributes:
        parted: the latest socket has closed; ``None`` while one carries the conversation.
    """

    def __init__(self, trace: Trace, frames: Frames) -> None:
        self.parted: Parted | None = None
        self._trace = trace
        self._frames = frames

    def part(self, close: Close) -> bool:
        """Note that the socket has closed.

        Args:
            close: how.

        Returns:
            ``False`` if the conversation is over.
        """
        trace, frames = self._trace, self._frames
        ending = ended_by_close(close, trace.writer.policy)
        with frames.lock:
            recorder = frames.recorder
            if frames.closed or recorder is None:
                return False
            if self.parted is not None:  # its SDK could not open it anew
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
        """Note that the server refused an attempt to go on."""
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
        """Go on on another socket; ``False`` if the conversation has ended."""
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
            except BaseException as error:  # noqa: BLE001 - a span processor: the conversation goes on
                let_through(error)
                diagnostics.report("joining", error)
        return True

    def _note(self, parted: Parted) -> None:
        """Keep it, also for whoever finishes the conversation if this process is killed now."""
        trace, frames = self._trace, self._frames
        self.parted = parted
        frames.notes.parted(
            parted.ending,
            parted.moment,
            frames.state.counts.events,
            trace.events.dropped,
            otlp=trace.refused,
        )
