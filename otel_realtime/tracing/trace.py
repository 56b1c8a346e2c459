"""The trace of one conversation: its root span and everything that is written below it.

The root starts a new trace with a sampling decision of its own, linked to the caller's span; in
ambient mode it is a child of the caller's span. Sampling is decided when the root starts
(https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampling). A conversation that is not sampled
costs next to nothing: its root ends at once, and it has no run, no recording and no journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext

from otel_realtime import attributes as names
from otel_realtime.clock import Clock
from otel_realtime.core.protocol.outcome import (
    Ending,
    Identity,
    Tally,
    sanitize_metadata,
    sanitize_tags,
)
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.delivery.keep import name_of, uri_of
from otel_realtime.delivery.model import Backend, Closing, Root
from otel_realtime.diagnostics import logger_of, warn_once
from otel_realtime.interrupts import let_through
from otel_realtime.settings import Settings
from otel_realtime.tracing import root as root_facts
from otel_realtime.tracing.activation import Activation, NativeParents
from otel_realtime.tracing.closing import RootEnd, recording_info, run_opening
from otel_realtime.tracing.event import EventSpans
from otel_realtime.tracing.failure import exception_failure, fail
from otel_realtime.tracing.limits import limits_of
from otel_realtime.tracing.members import Membership, admit_root
from otel_realtime.tracing.metrics import Metrics
from otel_realtime.tracing.route import Route, is_wanted, may_record
from otel_realtime.tracing.run_metadata import RunMetadata
from otel_realtime.tracing.tool import ToolSpans
from otel_realtime.tracing.writer import SpanWriter, finish
from otel_realtime.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span as SdkSpan
    from opentelemetry.trace import TracerProvider

    from otel_realtime.tracing.closing import RecordedAudio

logger = logger_of(__name__)

_NO_PROVIDER: Final = (
    "Realtime conversations are not traced: no OpenTelemetry TracerProvider is set; set one, or call "
    "otel_realtime.configure() when the app starts"
)
_AMBIENT_REFUSED: Final = (
    'ignoring Settings.parent="ambient": without a LangSmith key in this process LangSmith would '
    "drop the conversation, because it never receives the parent of its root; set "
    "LANGSMITH_TRACING=true and LANGSMITH_API_KEY, or Settings.langsmith='off' if nothing is "
    "forwarded to LangSmith"
)


def _link_back(calling_span: Span, root: SpanContext) -> None:
    """Link the caller's span to the conversation's root, if both are recorded.

    The span belongs to the app. If the call raises, only the link is lost, and no error is reported.
    """
    try:
        if root.trace_flags.sampled and calling_span.is_recording():
            calling_span.add_link(root)
    except BaseException as error:
        let_through(error)
        logger.debug("the caller's span takes no link to its conversation", exc_info=True)


class Trace:
    """One conversation's root span, the spans below it, and its delivery to a backend.

    The constructor starts the root. Methods that change the trace are called with the
    conversation's lock held, unless the conversation is not open yet.

    Args:
        identity: the conversation.
        settings: settings of the conversation.
        clock: its clock.
        route: where it is delivered.
        provider: tracer provider of its spans.
        caller: context that was current at the handshake.
        metrics: returns its metrics, given the root's context and whether it is sampled.
        native: another library's context of the current parent, for ``Activation``.

    Attributes:
        root: the OTel root span.
        trace_id: OTel trace id, 32 hex digits.
        sampled: ``False``: nothing is traced, recorded or delivered.
        membership: what all its spans have in common.
        activation: makes its spans current.
        events: spans of its events.
        tools: spans of its tools.
        writer: starts these spans, and those of model calls.
        metrics: its metrics.
        ambient: the root is a child of the caller's span.
        delivery: its root run at the backend; ``None`` before ``post``, or without a backend.
        before_post: called in the background just before the root run is sent.
        after_post: called in the background when the root run is accepted.
        info: further values for ``Settings.on_recording``.
    """

    def __init__(
        self,
        identity: Identity,
        settings: Settings,
        clock: Clock,
        *,
        route: Route,
        provider: TracerProvider,
        caller: Context,
        metrics: Callable[[SpanContext, bool], Metrics],
        native: NativeParents | None = None,
    ) -> None:
        if isinstance(provider, trace_api.ProxyTracerProvider):
            warn_once("no provider", _NO_PROVIDER)
        self.identity = identity
        self.settings = settings
        self.clock = clock
        self.route = route
        self._limits = limits_of(provider, settings.payload_limit)
        tracer = provider.get_tracer("otel_realtime", VERSION)
        self.ambient = False
        self.root = self._start_root(tracer, caller)
        context = self.root.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.sampled = self.root.is_recording() and context.trace_flags.sampled
        # The rest needs the ids of the root, and whether it is sampled.
        self._backend: Backend | None = None
        if self.sampled and route.connect is not None:
            self._backend = route.connect()
        if isinstance(settings.view_url, str) and settings.view_url:
            identity.view_url = root_facts.view_url(
                settings.view_url, identity, trace_id=context.trace_id, span_id=context.span_id
            )
            self.root.set_attributes(root_facts.view_attributes(identity.view_url))
        self.membership = route.join(
            root_span_id=context.span_id,
            trace_id=context.trace_id,
            start_ns=clock.start_ns,
            thread_id=identity.thread_id,
            leg=route.leg,
            ambient=self.ambient,
            outlet=route.outlet(self._backend),
            about=RunMetadata(identity.metadata),
        )
        self.activation: Activation = Activation(self.membership, native)
        self.writer: SpanWriter = SpanWriter(
            tracer,
            self.root,
            self.membership,
            policy=route.policy,
            provider=identity.provider,
            payload_limit=self.payload_limit,
            span_limit=settings.span_limit,
            conversation_id=identity.conversation_id,
        )
        self.events = EventSpans(self.writer)
        self.metrics = metrics(context, self.sampled)
        self.tools = ToolSpans(self.writer, self.metrics.tool, native)
        self.delivery: Root | None = None
        self.before_post: Callable[[], object] | None = None
        self.after_post: Callable[[], object] | None = None
        self.info: dict[str, Any] = {}
        if self.sampled:
            admit_root(_sdk(self.root), self.membership)
            self.metrics.opened()
        else:
            self.root.end()

    def _start_root(self, tracer: trace_api.Tracer, caller: Context) -> Span:
        identity, calling_span = self.identity, trace_api.get_current_span(caller)
        parent = calling_span.get_span_context()
        self.ambient = self.settings.parent == "ambient" and self._may_nest(parent)
        if parent.is_valid:
            identity.parent_trace_id = f"{parent.trace_id:032x}"
            identity.parent_span_id = f"{parent.span_id:016x}"
        attributes = root_facts.opening_attributes(identity, VERSION, room=self._limits.metadata)
        attributes[names.LS_THREAD_ID] = identity.thread_id
        attributes[names.LEG] = self.route.leg
        linked = parent.is_valid and not self.ambient
        span = tracer.start_span(
            names.ROOT_NAME,
            context=caller if self.ambient else Context(),  # an empty one starts a new trace
            attributes=attributes,
            links=[Link(parent)] if linked else (),
            start_time=self.clock.start_ns,
        )
        if linked:
            _link_back(calling_span, span.get_span_context())
        return span

    def _may_nest(self, parent: SpanContext) -> bool:
        """Return whether the root may be a child of the caller's span.

        LangSmith silently drops a run that arrives by OTLP if its parent never does:
        https://docs.langchain.com/langsmith/trace-with-opentelemetry
        """
        route = self.route
        if parent.is_valid and route.leg == names.LEG_COLLECTOR and not route.delivers_root:
            warn_once("ambient", _AMBIENT_REFUSED)
            return False
        return parent.is_valid

    # -- properties --------------------------------------------------------------------------------

    @property
    def span_id(self) -> int:
        """OTel span id of the root."""
        return self.membership.root_span_id

    @property
    def payload_limit(self) -> int:
        """Maximum characters of JSON per attribute."""
        return self._limits.payload

    @property
    def journaled(self) -> bool:
        """Whether the conversation has a journal on disk, so that another process can finish it."""
        return self.sampled and (self.recorded or self.route.delivers_root)

    @property
    def records(self) -> bool:
        """Whether policy and settings allow recording audio."""
        return may_record(self.settings, self.writer.policy)

    @property
    def recorded(self) -> bool:
        """Whether audio is recorded: it is allowed, the trace is sampled, and there is a destination."""
        wanted = is_wanted(self.settings, delivers_root=self.route.delivers_root)
        return self.records and self.sampled and wanted

    @property
    def name(self) -> str:
        """File name of a kept recording, without extension: start, thread id, and a unique part."""
        return name_of(self.identity.thread_id, self.span_id, self.clock.start_ns)

    @property
    def _recording_uri(self) -> str | None:
        directory = self.settings.recordings_dir
        return uri_of(directory, self.name) if directory and self.recorded else None

    # -- the root run ------------------------------------------------------------------------------

    def post(self) -> None:
        """Send the root run to the backend once, so that the call is visible while it is in progress."""
        if self.delivery is None and self._backend is not None:
            opening = run_opening(
                self.identity,
                trace_id=self.membership.trace_id,
                span_id=self.span_id,
                start_ns=self.membership.start_ns,
                voice=self.membership.about.voice,
            )
            self.delivery = self._backend.open(
                opening, ready=self.before_post, accepted=self.after_post
            )

    @property
    def refused(self) -> bool:
        """Whether the backend refused the root run for good."""
        return self.delivery is not None and self.delivery.status == "refused"

    def start_at(self, start_ns: int, *, fresh: bool) -> None:
        """Move the start of the conversation to the time the app gave for its first event.

        OpenTelemetry has no way to move the start of a span, so this sets the SDK's private field. That is
        safe only while nothing has been written below the root or posted with the old start.

        Args:
            start_ns: new start, epoch ns.
            fresh: nothing has been received or written yet.
        """
        if not fresh or self.delivery is not None:
            self.clock.uses_app_times = True
            return
        self.clock.rebase(start_ns)
        self.membership.start_at(start_ns)
        if self.sampled and hasattr(self.root, "_start_time"):
            self.root._start_time = start_ns
            admit_root(_sdk(self.root), self.membership)  # its dotted order contains the start

    # -- metadata, tags and privacy ----------------------------------------------------------------

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Add metadata of the app; later values win, and reserved keys are left out."""
        kept, refused = sanitize_metadata(metadata)
        warn_reserved(refused)
        self.identity.metadata.update(kept)
        if self.sampled:
            merged, room = self.identity.metadata, self._limits.metadata
            self.root.set_attributes(root_facts.app_attributes(merged, room=room))

    def add_tags(self, tags: Iterable[str]) -> None:
        """Add tags of the app, without duplicates."""
        known = self.identity.tags
        known.extend(tag for tag in sanitize_tags(tags) if tag not in known)
        if self.sampled and known:
            self.root.set_attribute(names.LS_TAGS, ",".join(known))

    def restrict_policy(self, settings: Settings) -> None:
        """Apply the stricter privacy of later settings from now on; never relax it."""
        self.writer.policy = self.writer.policy.stricter(
            capture=settings.capture_content, audio=settings.record_audio
        )
        self.membership.restrict(self.writer.policy)

    def tool_raised(self, span: Span, error: Exception, at_ns: int, *, private: bool) -> str:
        """Mark the span of a tool that raised as failed; return the failure's type.

        Args:
            span: the tool's span.
            error: the exception.
            at_ns: when it was raised, epoch ns.
            private: the recording was paused, so the exception's text is hidden.
        """
        policy = self.writer.policy
        if private:
            policy = replace(policy, inputs=False, outputs=False)
        failure, stacktrace = exception_failure(error, policy)
        if span.is_recording():
            fail(span, failure, at_ns, stacktrace)
        return failure.type

    # -- the end -----------------------------------------------------------------------------------

    def end(
        self,
        state: ConversationState,
        tally: Tally,
        audio: RecordedAudio,
        ending: Ending,
        moment: Moment,
    ) -> RootEnd:
        """End the root span.

        Args:
            state: final state of the conversation.
            tally: totals over its responses.
            audio: facts about its audio.
            ending: how it ended.
            moment: when it ended.

        Returns:
            The data that the end of the root run is built from.
        """
        self.post()  # a conversation without frames was not posted before
        closing = RootEnd(
            identity=self.identity,
            trace_id=self.trace_id,
            start_ns=self.clock.start_ns,
            state=state,
            audio=audio,
            tally=tally,
            ending=ending,
            moment=moment,
            policy=self.writer.policy,
            dropped=self.events.dropped,
            records=self.records,
            leg=self.route.leg,
            delivers_root=self.route.delivers_root,
            refused=self.refused,
            limit=self.payload_limit,
            titled=self.settings.title == "first_utterance",
            recording_uri=self._recording_uri,
        )
        # The state counts the calls on the wire; the app may have run other tools, or one of them twice.
        state.counts.tool_calls = self.tools.ended
        # A root that the runs API refused gets no mark, so that it is delivered by OTLP instead.
        delivered = self.delivery is not None and not self.refused
        closing.end(self.root, mark=self.membership.delivered_mark if delivered else None)
        return closing

    def store(self, timeout_s: float) -> bool:
        """Write the ended spans that this process delivers to disk; return ``False`` on timeout."""
        # Like ``put``, ``store`` is not part of the ``Backend`` protocol.
        store: Callable[[float], bool] | None = getattr(self.membership.outlet, "store", None)
        return store is None or store(timeout_s)

    def take_batches(self) -> list[Path]:
        """Return the files that hold its spans, to be released with it; called once, when it is forgotten."""
        take: Callable[[Membership], list[Path]] | None = getattr(
            self.membership.outlet, "batches_of", None
        )
        return [] if take is None else take(self.membership)

    def last_resort(self, at_ns: int) -> Closing:
        """Return a minimal end of the root run, for when a fault prevents describing the real one.

        Args:
            at_ns: end of the conversation, epoch ns.
        """
        return Closing(
            end_ns=max(at_ns, self.clock.start_ns) + 1,
            metadata={**self.identity.metadata, names.Meta.ATTACH_STATUS: "failed"},
            error="the end of this conversation could not be described",
        )

    def ensure_ended(self, at_ns: int) -> None:
        """End the root if a fault or an interrupt prevented ``end`` from doing so.

        Args:
            at_ns: end of the conversation, epoch ns.
        """
        if self.root.is_recording():
            finish(self.root, at_ns)

    def recording_info(self) -> dict[str, Any]:
        """Return what ``Settings.on_recording`` receives about the conversation."""
        return {
            **recording_info(self.identity, self.trace_id, self.clock.start_ns),
            **self.info,
        }


def warn_reserved(refused: list[str]) -> None:
    """Log which metadata keys of the app are left out, once per set of keys."""
    if refused:
        key = ("reserved", *sorted(refused))
        warn_once(
            key,
            "ignoring metadata keys %s: they are not text, or LangSmith would take them for the "
            "thread (give that as thread_id=)",
            ", ".join(refused),
        )


def _sdk(span: Span) -> SdkSpan:
    """Return a recording span as the SDK's type; other SDKs' spans have the methods used here, too."""
    return cast("SdkSpan", span)
