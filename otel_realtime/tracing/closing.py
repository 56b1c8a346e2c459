"""The end of a conversation's root: the same facts for the OTel span and for LangSmith's run.

A live conversation takes the facts from its own state, a recovery takes them from the journal.
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
from otel_realtime.recording.about import About
from otel_realtime.tracing import root as root_facts
from otel_realtime.tracing.facts import Attributes
from otel_realtime.tracing.failure import fail
from otel_realtime.tracing.writer import finish
from otel_realtime.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from otel_realtime.core.audio.redactions import Stretch
    from otel_realtime.recording.track import AudioSummary


class RecordedAudio(AudioFacts, Protocol):
    """Facts about a conversation's audio and its totals: a ``Recorder`` or a replayed journal."""

    def summary(self) -> AudioSummary:
        """Return the recording's totals."""

    def redacted(self) -> list[Stretch]:
        """Return the silenced stretches of the recording, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootEnd:
    """Everything that the end of the root is built from.

    Attributes:
        identity: the conversation.
        trace_id: OTel trace id, 32 hex digits.
        start_ns: start of the root, epoch ns.
        state: the conversation's final state.
        audio: facts about its audio; they may become more exact until the writer is done.
        tally: totals over its responses.
        ending: how it ended.
        moment: when it ended.
        policy: which content may be stored.
        dropped: number of events that got no span because the trace was full.
        records: policy and settings allow recording audio.
        leg: value of ``otel_realtime.langsmith.leg``.
        delivers_root: this process delivers the root run, and with it the recording.
        refused: the backend refused the root run for good.
        limit: maximum characters of JSON per attribute.
        titled: the root run is named after the caller's first words.
        recording_uri: where the recording will be kept; ``None``: nowhere.
    """

    identity: Identity
    trace_id: str
    start_ns: int
    state: ConversationState
    audio: RecordedAudio
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
    titled: bool = False
    recording_uri: str | None = None

    @property
    def end_ns(self) -> int:
        """End of the root, epoch ns: 1 ns after the latest span below it may end."""
        return max(self.moment.at_ns, self.start_ns) + 1

    def with_final_tally(self) -> RootEnd:
        """Return a copy with the tally of all responses, now that all audio has been processed.

        The OTel root cannot wait for that; LangSmith's run can.
        """
        return replace(self, tally=tally(self.state, self.audio))

    def end(self, root: Span, *, mark: tuple[str, str] | None) -> None:
        """End the OTel root.

        Args:
            root: the root.
            mark: attribute (key, value) which says that a backend receives the root another way.
        """
        # Set before ``finish``: an ended span is read-only, and our processor reads the mark.
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
            self._outputs(),
            self.limit,
            langsmith=langsmith,
        )

    def _outputs(self) -> dict[str, Any]:
        outputs = root_facts.outputs(self.state, self.audio, self.policy)
        kept = self.recording_uri is not None and self.records and self.policy.run_outputs
        if kept and self.audio.summary().has_audio:
            outputs["recording"] = root_facts.recording_part(str(self.recording_uri))
        return outputs

    def run_closing(self) -> Closing:
        """Return the end of the root run, which is sent as its only patch."""
        failure = self.ending.failure
        return Closing(
            end_ns=self.end_ns,
            inputs=root_facts.inputs(self.state, self.policy),
            outputs=self._outputs(),
            # Where keys collide, our facts win over the app's metadata.
            # ``None`` withdraws the modality that was assumed when the conversation opened.
            metadata={Meta.MODALITY: None, **self.identity.metadata, **self.metadata()},
            tags=list(self.identity.tags),
            error=failure.message if failure is not None else None,
            name=root_facts.title(self.state, self.policy) if self.titled else None,
        )

    def about(self) -> About:
        """Return the description stored in the recording, once all audio has been processed."""
        return About(
            thread_id=self.identity.thread_id,
            trace_id=self.trace_id,
            start_ns=self.start_ns,
            marks=root_facts.marks(self.state, self.audio, tally(self.state, self.audio)),
        )

    def metadata(self) -> dict[str, Any]:
        """Return the root's metadata without the app's own."""
        metadata = root_facts.opening_metadata(self.identity, VERSION)
        summary = self.audio.summary()
        metadata.update(
            root_facts.closing_metadata(
                self.identity,
                self.state,
                self.tally,
                _talk_times(summary),
                self.ending,
                has_audio=summary.has_audio,
            )
        )
        metadata[RootFact.DURATION] = round((self.end_ns - self.start_ns) / 1e9, 3)
        metadata[RootFact.DROPPED_EVENTS] = self.dropped
        if summary.dropped_ms:
            metadata[RootFact.DROPPED_AUDIO] = summary.dropped_ms
        metadata[Meta.OTEL_TRACE_ID] = self.trace_id
        status = self._attach_status(summary)
        metadata[Meta.ATTACH_STATUS] = status
        if self.records and summary.has_audio:
            metadata.update(root_facts.redactions(self.audio.redacted()))
        if summary.player_buffer_ms is not None and self.records:
            metadata[RootFact.PLAYER_BUFFER] = summary.player_buffer_ms
        if summary.error:
            metadata[RootFact.RECORDING_ERROR] = summary.error
        if status == "pending":  # LangSmith's player aligns the recording with the spans by these
            metadata[Meta.RECORDING_STARTED_AT] = self.start_ns / 1e9
            metadata[Meta.RECORDING_START_OFFSET] = 0
        return metadata

    def _attach_status(self, summary: AudioSummary) -> str:
        """Return ``ls_audio_attach_status`` as known when the conversation closes."""
        if not self.records:
            return "disabled"
        if not summary.has_audio:
            return "none"
        # Without LangSmith there is nothing to attach to; with a Collector, only the API key is missing.
        if not self.delivers_root:
            return "none" if self.leg == names.LEG_NONE else "no_credentials"
        return "failed" if summary.error or self.refused else "pending"


def _talk_times(summary: AudioSummary) -> dict[str, float]:
    """Return the talk times by key; empty if they are not exact or there was no audio."""
    if not (summary.measured and summary.has_audio):
        return {}
    return {
        RootFact.USER_TALK: summary.user_talk_s,
        RootFact.AGENT_TALK: summary.agent_talk_s,
        RootFact.OVERLAP: summary.overlap_s,
        RootFact.DEAD_AIR: summary.dead_air_s,
        RootFact.LONGEST_SILENCE: summary.longest_silence_s,
        RootFact.AGENT_OVER_USER: summary.agent_over_user_s,
    }


def run_opening(
    identity: Identity, *, trace_id: int, span_id: int, start_ns: int, voice: bool
) -> Opening:
    """Return the root run as it is posted.

    Args:
        identity: the conversation.
        trace_id: OTel trace id.
        span_id: OTel span id of the root.
        start_ns: start of the root, epoch ns.
        voice: it is a voice conversation, as far as is known; the end of the run corrects this.
    """
    modality = {Meta.MODALITY: names.MODALITY_AUDIO} if voice else {}
    return Opening(
        trace_id=trace_id,
        span_id=span_id,
        name=names.ROOT_NAME,
        start_ns=start_ns,
        metadata={
            **identity.metadata,
            **root_facts.opening_metadata(identity, VERSION),
            **modality,
            Meta.OTEL_TRACE_ID: f"{trace_id:032x}",
        },
        tags=list(identity.tags),
    )


def recording_info(identity: Identity, trace_id: str, start_ns: int) -> dict[str, Any]:
    """Return what ``Settings.on_recording`` receives about the conversation.

    Args:
        identity: the conversation.
        trace_id: OTel trace id, 32 hex digits.
        start_ns: start of the conversation, epoch ns.
    """
    return {
        "thread_id": identity.thread_id,
        "trace_id": trace_id,
        "started_at_s": start_ns / 1e9,
        "metadata": dict(identity.metadata),
    }
