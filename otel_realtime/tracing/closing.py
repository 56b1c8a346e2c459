"""How a conversation's root ends: the same facts for the OTel span and for LangSmith's run.

The live conversation makes them from what it saw, recovery from what the journal says it saw.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from otel_realtime import attributes as names
from otel_realtime.attributes import Meta, RootFact
from otel_realtime.core.protocol.outcome import Ending, Identity, Tally, tally
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.core.protocol.responses import AudioFacts, Moment
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.delivery.model import Closing, Opening
from otel_realtime.tracing import root as root_facts
from otel_realtime.tracing.facts import Attributes
from otel_realtime.tracing.failure import fail
from otel_realtime.tracing.writer import finish
from otel_realtime.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from otel_realtime.recording.track import AudioSummary


class Sound(AudioFacts, Protocol):
    """What is known of the sound when it is over."""

    def summary(self) -> AudioSummary:
        """The recording in numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootEnd:
    """Everything the root's end is made of.

    Attributes:
        start_ns: the root's start, epoch ns.
        moment: its end.
        dropped: events that found no room for a span.
        records: sound is wanted, as far as the policy and the settings go.
        delivers_root: this process delivers the root run, and can attach a recording.
        refused: the backend refused the root run.
        limit: characters of JSON per attribute.
    """

    who: Identity
    trace_id: str
    start_ns: int
    state: ConversationState
    sound: Sound
    tally: Tally
    ending: Ending
    moment: Moment
    policy: ContentPolicy
    dropped: int
    records: bool
    leg: str
    delivers_root: bool
    refused: bool
    limit: int

    @property
    def end_ns(self) -> int:
        """The root's end, epoch ns: after its start, and after every span below it."""
        return max(self.moment.at_ns, self.start_ns) + 1

    def counted_anew(self) -> RootEnd:
        """The same, with latencies and interruptions as they are when all sound was taken in."""
        return replace(self, tally=tally(self.state, self.sound))

    def end(self, root: Span, *, mark: tuple[str, str] | None) -> None:
        """End the OTel root; ``mark``: the attribute that says a backend gets it another way."""
        root.set_attributes(self._attributes(langsmith=mark is None))
        if mark is not None:
            root.set_attribute(*mark)
        if self.ending.failure is not None:
            fail(root, self.ending.failure, self.end_ns)
        finish(root, self.end_ns)

    def _attributes(self, *, langsmith: bool) -> Attributes:
        return root_facts.closing_attributes(
            self.metadata(),
            root_facts.inputs(self.state, self.policy),
            root_facts.outputs(self.state, self.sound, self.policy),
            self.limit,
            langsmith=langsmith,
        )

    def run(self) -> Closing:
        """The run's only patch."""
        failure = self.ending.failure
        return Closing(
            end_ns=self.end_ns,
            inputs=root_facts.inputs(self.state, self.policy),
            outputs=root_facts.outputs(self.state, self.sound, self.policy),
            metadata={**self.who.metadata, **self.metadata()},
            tags=list(self.who.tags),
            error=failure.message if failure is not None else None,
        )

    def metadata(self) -> dict[str, Any]:
        """The root's metadata without the app's own."""
        found = root_facts.opening_metadata(self.who, VERSION)
        summary = self.sound.summary()
        found.update(
            root_facts.closing_metadata(
                self.who,
                self.state,
                self.tally,
                _talk(summary),
                self.ending,
                sounds=summary.has_audio,
            )
        )
        found[RootFact.DURATION] = round((self.end_ns - self.start_ns) / 1e9, 3)
        found[RootFact.DROPPED_EVENTS] = self.dropped
        found[Meta.OTEL_TRACE_ID] = self.trace_id
        status = self._attach_status(summary)
        found[Meta.ATTACH_STATUS] = status
        if summary.error:
            found[RootFact.RECORDING_ERROR] = summary.error
        if status == "pending":
            found[Meta.RECORDING_STARTED_AT] = self.start_ns / 1e9
            found[Meta.RECORDING_START_OFFSET] = 0
        return found

    def _attach_status(self, summary: AudioSummary) -> str:
        """``ls_audio_attach_status`` as far as it is known when the conversation closes."""
        if not self.records:
            return "disabled"
        if not summary.has_audio:
            return "none"
        if not self.delivers_root:
            return "none" if self.leg == names.LEG_NONE else "no_credentials"
        return "failed" if summary.error or self.refused else "pending"


def _talk(summary: AudioSummary) -> dict[str, float]:
    """Talk times, as soon as they are exact."""
    if not (summary.measured and summary.has_audio):
        return {}
    return {
        RootFact.USER_TALK: summary.user_talk_s,
        RootFact.AGENT_TALK: summary.agent_talk_s,
        RootFact.OVERLAP: summary.overlap_s,
    }


def run_opening(who: Identity, *, trace_id: int, span_id: int, start_ns: int) -> Opening:
    """The root run as it is posted."""
    return Opening(
        trace_id=trace_id,
        span_id=span_id,
        name=names.ROOT_NAME,
        start_ns=start_ns,
        metadata={
            **who.metadata,
            **root_facts.opening_metadata(who, VERSION),
            Meta.OTEL_TRACE_ID: f"{trace_id:032x}",
        },
        tags=list(who.tags),
    )


def recording_info(who: Identity, trace_id: str, start_ns: int) -> dict[str, Any]:
    """What ``on_recording`` is told of the conversation."""
    return {
        "thread_id": who.thread_id,
        "trace_id": trace_id,
        "started_at_s": start_ns / 1e9,
        "metadata": dict(who.metadata),
    }
