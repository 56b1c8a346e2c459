"""The trace of one conversation: its root, who it is, where it goes, and how it ends.

Sampling is decided when the root starts. A conversation that is not sampled costs next to
nothing: its root ends at once, and no run, no recording and no journal is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
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
from otel_realtime.delivery.model import Backend, Closing, Root
from otel_realtime.diagnostics import warn_once
from otel_realtime.settings import Settings
from otel_realtime.tracing import root as root_facts
from otel_realtime.tracing.activation import Activation, NativeParents
from otel_realtime.tracing.closing import RootEnd, recording_info, run_opening
from otel_realtime.tracing.event import EventSpans
from otel_realtime.tracing.failure import fail, raised
from otel_realtime.tracing.limits import limits_of
from otel_realtime.tracing.members import admit_root
from otel_realtime.tracing.metrics import Metrics
from otel_realtime.tracing.route import Route
from otel_realtime.tracing.tool import ToolSpans
from otel_realtime.tracing.writer import SpanWriter, finish
from otel_realtime.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span as SdkSpan
    from opentelemetry.trace import TracerProvider

    from otel_realtime.tracing.closing import Sound

_UNFIT_FOR_FILES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NO_PROVIDER: Final = (
    "no OpenTelemetry TracerProvider is set, so Realtime conversations are not traced: set one, "
    "or call otel_realtime.configure() where the app starts"
)
_AMBIENT_REFUSED: Final = (
    'Settings.parent="ambient" is refused: without a LangSmith key in this process the '
    "conversation's root would hang under a span that LangSmith never gets, and be dropped; "
    "set Settings.langsmith='off' if nothing is forwarded to LangSmith"
)


class Trace:
    """One conversation's root span and what hangs on it.

    Args:
        identity: who the conversation is.
        settings: of the conversation.
        clock: tells its times.
        route: where it goes.
        provider: traces it.
        caller: the context of the handshake.
        metrics: makes its metrics, if it is sampled.
        native: other libraries' own parents, for ``Activation``.

    Attributes:
        root: the OTel root span.
        sampled: False: nothing is traced, recorded or delivered.
        membership: what its spans share.
        events: the spans of its events.
        tools: the spans of its tools.
        writer: starts them, and those of model calls.
        delivery: its root run on its way to the backend; None before ``post``, or without one.
        before_post: called in the background before the backend hears of the conversation.
        info: what ``on_recording`` is told besides the usual.
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
        metrics: Callable[[bool], Metrics],
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
        self._backend: Backend | None = None
        if self.sampled and route.connect is not None:
            self._backend = route.connect()
        self.membership = route.join(
            root_span_id=context.span_id,
            trace_id=context.trace_id,
            start_ns=clock.start_ns,
            thread_id=identity.thread_id,
            leg=route.leg,
            ambient=self.ambient,
            outlet=route.outlet(self._backend),
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
        )
        self.events = EventSpans(self.writer)
        self.tools = ToolSpans(self.writer)
        self.metrics = metrics(self.sampled)
        self.delivery: Root | None = None
        self.before_post: Callable[[], object] | None = None
        self.info: dict[str, Any] = {}
        if self.sampled:
            admit_root(_sdk(self.root), self.membership)
            self.metrics.opened()
        else:
            self.root.end()

    def _start_root(self, tracer: trace_api.Tracer, caller: Context) -> Span:
        who, above = self.identity, trace_api.get_current_span(caller)
        parent = above.get_span_context()
        self.ambient = self.settings.parent == "ambient" and self._may_nest(parent)
        if parent.is_valid:
            who.parent_trace_id = f"{parent.trace_id:032x}"
            who.parent_span_id = f"{parent.span_id:016x}"
        attributes = root_facts.opening_attributes(who, VERSION, room=self._limits.metadata)
        attributes[names.LS_THREAD_ID] = who.thread_id
        attributes[names.LEG] = self.route.leg
        linked = parent.is_valid and not self.ambient
        span = tracer.start_span(
            names.ROOT_NAME,
            context=caller if self.ambient else Context(),
            attributes=attributes,
            links=[Link(parent)] if linked else (),
            start_time=self.clock.start_ns,
        )
        if linked and above.is_recording():
            above.add_link(span.get_span_context())
        return span

    def _may_nest(self, parent: SpanContext) -> bool:
        """LangSmith drops a root that came by OTLP under a parent it never gets."""
        route = self.route
        if parent.is_valid and route.leg == names.LEG_COLLECTOR and not route.delivers_root:
            warn_once("ambient", _AMBIENT_REFUSED)
            return False
        return parent.is_valid

    # -- what is wanted ------------------------------------------------------------------------------

    @property
    def span_id(self) -> int:
        """The OTel span id of the root."""
        return self.membership.root_span_id

    @property
    def payload_limit(self) -> int:
        """Characters of JSON per attribute."""
        return self._limits.payload

    @property
    def journaled(self) -> bool:
        """True if something of it stands on disk, so that another process can finish it."""
        return self.sampled and (self.recorded or self.route.delivers_root)

    @property
    def records(self) -> bool:
        """True if sound is wanted."""
        return self.writer.policy.audio and self.settings.record_audio

    @property
    def recorded(self) -> bool:
        """True if sound is wanted and has somewhere to go."""
        settings = self.settings
        kept = settings.recordings_dir is not None or settings.on_recording is not None
        return self.records and self.sampled and (kept or self.route.delivers_root)

    @property
    def name(self) -> str:
        """File name of a kept recording, without extension."""
        thread = _UNFIT_FOR_FILES.sub("_", self.identity.thread_id)[:80].lstrip(".-")
        return f"{thread or 'call'}-{self.span_id:016x}"

    # -- its root run --------------------------------------------------------------------------------

    def post(self) -> None:
        """Make the conversation visible at the backend while it goes on, once."""
        if self.delivery is None and self._backend is not None:
            opening = run_opening(
                self.identity,
                trace_id=self.membership.trace_id,
                span_id=self.span_id,
                start_ns=self.membership.start_ns,
            )
            self.delivery = self._backend.open(opening, ready=self.before_post)

    @property
    def refused(self) -> bool:
        """True if the backend refused the root run, for good."""
        return self.delivery is not None and self.delivery.status == "refused"

    def start_at(self, start_ns: int, *, fresh: bool) -> None:
        """The app names the time of the first event: the conversation starts there.

        A started span has no public way to move; the SDK's field is set as long as nothing
        was traced or posted below it.
        """
        if not fresh or self.delivery is not None:
            self.clock.uses_app_times = True
            return
        self.clock.rebase(start_ns)
        self.membership.start_at(start_ns)
        if self.sampled and hasattr(self.root, "_start_time"):
            self.root._start_time = start_ns
            admit_root(_sdk(self.root), self.membership)

    # -- what the app adds ---------------------------------------------------------------------------

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Lay the app's metadata over what it gave before; reserved keys are refused."""
        kept, refused = sanitize_metadata(metadata)
        warn_reserved(refused)
        self.identity.metadata.update(kept)
        if self.sampled:
            known, room = self.identity.metadata, self._limits.metadata
            self.root.set_attributes(root_facts.app_attributes(known, room=room))

    def add_tags(self, tags: Iterable[str]) -> None:
        """Add tags, each once."""
        known = self.identity.tags
        known.extend(tag for tag in sanitize_tags(tags) if tag not in known)
        if self.sampled and known:
            self.root.set_attribute(names.LS_TAGS, ",".join(known))

    def tighten(self, settings: Settings) -> None:
        """Stricter privacy of later settings holds from now on; nothing is loosened."""
        self.writer.policy = self.writer.policy.stricter(
            capture=settings.capture_content, audio=settings.record_audio
        )

    def tool_raised(self, span: Span, error: Exception, at_ns: int, *, private: bool) -> None:
        """An app's tool raised; ``private``: nothing of its words may be told."""
        if not span.is_recording():
            return
        policy = self.writer.policy
        if private:
            policy = replace(policy, inputs=False, outputs=False)
        failure, stacktrace = raised(error, policy)
        fail(span, failure, at_ns, stacktrace)

    # -- the end -------------------------------------------------------------------------------------

    def end(
        self,
        state: ConversationState,
        tally: Tally,
        sound: Sound,
        ending: Ending,
        moment: Moment,
    ) -> RootEnd:
        """End the root now; returns what its run is finished with."""
        self.post()
        closing = RootEnd(
            who=self.identity,
            trace_id=self.trace_id,
            start_ns=self.clock.start_ns,
            state=state,
            sound=sound,
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
        )
        delivered = self.delivery is not None and not self.refused
        closing.end(self.root, mark=self.membership.delivered_mark if delivered else None)
        return closing

    def last_resort(self, at_ns: int) -> Closing:
        """The bare end of the root run, if a fault kept everything else from being told."""
        return Closing(
            end_ns=max(at_ns, self.clock.start_ns) + 1,
            metadata={**self.identity.metadata, names.Meta.ATTACH_STATUS: "failed"},
            error="the end of this conversation could not be described",
        )

    def ensure_ended(self, at_ns: int) -> None:
        """End the root if a fault or an interrupt kept ``end`` from doing it."""
        if self.root.is_recording():
            finish(self.root, at_ns)

    def recording_info(self) -> dict[str, Any]:
        """What ``on_recording`` is told of the conversation."""
        return {
            **recording_info(self.identity, self.trace_id, self.clock.start_ns),
            **self.info,
        }


def warn_reserved(refused: list[str]) -> None:
    """Say which metadata keys were left out."""
    if refused:
        key = ("reserved", *sorted(refused))
        warn_once(key, "metadata keys %s are reserved and left out", ", ".join(refused))


def _sdk(span: Span) -> SdkSpan:
    """A recording span of the SDK; other tracers' spans take the same calls."""
    return cast("SdkSpan", span)
