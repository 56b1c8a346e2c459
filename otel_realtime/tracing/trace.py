"""The trace of one conversation: its root, who it is, where it goes, and how it ends.

Sampling is decided when the root starts. A conversation that is not sampled costs next to
nothing: its root ends at once, and no run, no recording and no journal is made.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fnmatch import translate
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext

from otel_realtime import attributes as names
from otel_realtime import losses
from otel_realtime.clock import Clock
from otel_realtime.core.conversation import ConversationState
from otel_realtime.core.payload import ContentPolicy
from otel_realtime.core.responses import Moment
from otel_realtime.langsmith.app_exports import exporter_to_langsmith
from otel_realtime.langsmith.config import LangSmithConfig, LegChoice, choose_leg, say_once
from otel_realtime.langsmith.ids import dotted_order, run_id
from otel_realtime.langsmith.stamping import TraceStamp, stamp_root
from otel_realtime.recording.finish import Finish
from otel_realtime.runtime import RUNTIME, current_provider
from otel_realtime.settings import Settings
from otel_realtime.tracing import root as root_facts
from otel_realtime.tracing.closing import Closing, recording_info, run_opening
from otel_realtime.tracing.context import Activation
from otel_realtime.tracing.describe import raised
from otel_realtime.tracing.limits import limits_of
from otel_realtime.tracing.metrics import metrics_for
from otel_realtime.tracing.root import Ending, Identity, Tally
from otel_realtime.tracing.spans import ConversationSpans, fail, finish
from otel_realtime.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span as SdkSpan
    from opentelemetry.trace import TracerProvider

    from otel_realtime.langsmith.delivery import RootDelivery
    from otel_realtime.recording.recorder import Recorder

logger = logging.getLogger(__name__)

_UNFIT_FOR_FILES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_TWO_ROOTS: Final = (
    "this app's TracerProvider already exports to LangSmith ({where}); conversations go there "
    "with it, without their recording. For the recording remove that exporter and set "
    "LANGSMITH_TRACING=true and LANGSMITH_API_KEY: otel-realtime then delivers conversations itself"
)
_NO_PROVIDER: Final = (
    "no OpenTelemetry TracerProvider is set, so Realtime conversations are not traced: set one, "
    "or call otel_realtime.configure() where the app starts"
)


class Trace:
    """One conversation's root span and everything that hangs on it but the events' spans."""

    def __init__(
        self,
        identity: Identity,
        settings: Settings,
        clock: Clock,
        *,
        provider: TracerProvider | None,
        caller: Context,
    ) -> None:
        self.identity = identity
        self.settings = settings
        self.clock = clock
        self.activate = settings.activate_spans
        self.skip = skip_rule(settings.skip_events)
        self._said: set[str] = set()
        found = current_provider(provider)
        if isinstance(found, trace_api.ProxyTracerProvider):
            say_once(_NO_PROVIDER)
        RUNTIME.attach_processor(found)
        self._limits = limits_of(found, settings.payload_limit)
        self.payload_limit = self._limits.payload
        config = LangSmithConfig.from_env()
        self.api_url = config.api_url
        self.policy = content_policy(settings, config)
        choice = _choose(settings, config, found)
        self._tracer = found.get_tracer("otel_realtime", VERSION)
        self.root = self._start_root(caller, choice)
        context = self.root.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.run_id = run_id(context.span_id)
        self.sampled = self.root.is_recording() and context.trace_flags.sampled
        self.delivery: RootDelivery | None = None
        #: Called, on the posting thread, before LangSmith hears of the conversation.
        self.before_post: Callable[[], object] | None = None
        self.stamp: TraceStamp = TraceStamp(
            root_span_id=context.span_id,
            trace_id=context.trace_id,
            root_run_id=self.run_id,
            dotted_order=dotted_order(clock.start_ns, self.run_id),
            start_ns=clock.start_ns,
            project=config.project,
            thread_id=identity.thread_id,
            leg=choice.leg,
            explicit=choice.root_by_runs_api,
            ambient=self.ambient,
        )
        self.activation: Activation = Activation(self.stamp)
        self.metrics = metrics_for(
            RUNTIME.meter_provider, identity.provider.name, on=settings.metrics and self.sampled
        )
        if self.sampled:
            stamp_root(_sdk(self.root), self.stamp)
            if choice.root_by_runs_api:
                self._target = RUNTIME.target(config, settings)
                RUNTIME.routes[self.stamp.root_run_id] = self._target
            self.metrics.opened()
        else:
            self.root.end()
        self._choice = choice
        self.spans: ConversationSpans = ConversationSpans(
            self._tracer,
            self.root,
            self.stamp,
            policy=self.policy,
            provider=identity.provider,
            payload_limit=self.payload_limit,
            span_limit=settings.span_limit,
        )

    def _start_root(self, caller: Context, choice: LegChoice) -> Span:
        who, above = self.identity, trace_api.get_current_span(caller)
        parent = above.get_span_context()
        ambient = self.settings.parent == "ambient" and self._may_nest(choice, parent)
        if parent.is_valid:
            who.parent_trace_id = f"{parent.trace_id:032x}"
            who.parent_span_id = f"{parent.span_id:016x}"
        attributes = root_facts.opening_attributes(who, VERSION, room=self._limits.metadata)
        attributes[names.LS_THREAD_ID] = who.thread_id
        attributes[names.LEG] = choice.leg
        span = self._tracer.start_span(
            names.ROOT_NAME,
            context=caller if ambient else Context(),
            attributes=attributes,
            links=[Link(parent)] if parent.is_valid and not ambient else (),
            start_time=self.clock.start_ns,
        )
        self.ambient = ambient
        if parent.is_valid and not ambient and above.is_recording():
            above.add_link(span.get_span_context())
        return span

    def _may_nest(self, choice: LegChoice, parent: SpanContext) -> bool:
        """LangSmith drops a root that came by OTLP under a parent it never gets."""
        if parent.is_valid and choice.leg == names.LEG_COLLECTOR and not choice.root_by_runs_api:
            say_once(
                'Settings.parent="ambient" is refused: without a LangSmith key in this process the '
                "conversation's root would hang under a span that LangSmith never gets, and be "
                "dropped; set Settings.langsmith='off' if nothing is forwarded to LangSmith"
            )
            return False
        return parent.is_valid

    # -- LangSmith -----------------------------------------------------------------------------------

    def post(self) -> None:
        """Make the conversation visible in LangSmith while it goes on, once."""
        if self.delivery is None and self.sampled and self._choice.root_by_runs_api:
            opening = run_opening(
                self.identity,
                run_id=self.stamp.root_run_id,
                dotted_order=self.stamp.dotted_order,
                start_ns=self.stamp.start_ns,
                project=self.stamp.project,
                trace_id=self.trace_id,
            )
            self.delivery = self._target.roots.open(opening, ready=self.before_post)

    @property
    def by_runs_api(self) -> bool:
        """True if this process delivers the root run to LangSmith."""
        return self._choice.root_by_runs_api

    @property
    def refused(self) -> bool:
        """True if LangSmith's runs API refused the root, for good."""
        return self.delivery is not None and self.delivery.status == "refused"

    @property
    def journaled(self) -> bool:
        """True if something of it stands on disk, so that it can be finished by somebody else."""
        return self.sampled and (self.recorded or self._choice.root_by_runs_api)

    @property
    def records(self) -> bool:
        """True if sound is wanted."""
        return self.policy.audio and self.settings.record_audio

    @property
    def recorded(self) -> bool:
        """True if sound is wanted and has somewhere to go."""
        settings = self.settings
        kept = settings.recordings_dir is not None or settings.on_recording is not None
        return self.records and self.sampled and (kept or self._choice.root_by_runs_api)

    def start_at(self, start_ns: int, *, fresh: bool) -> None:
        """The app names the time of the first event: the conversation starts there.

        A started span has no public way to move; the SDK's field is set as long as nothing
        was traced or posted below it.
        """
        if not fresh or self.delivery is not None:
            self.clock.given = True
            return
        self.clock.rebase(start_ns)
        self.stamp.start_ns = start_ns
        self.stamp.dotted_order = dotted_order(start_ns, self.stamp.root_run_id)
        if self.sampled and hasattr(self.root, "_start_time"):
            self.root._start_time = start_ns
            stamp_root(_sdk(self.root), self.stamp)

    def stamp_response(self, response_id: object) -> None:
        """Remember a Realtime response: its usage stands on a span of ours, once."""
        if isinstance(response_id, str):
            self.stamp.responses.add(response_id)

    # -- what the app adds ---------------------------------------------------------------------------

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Lay the app's metadata over what it gave before; reserved keys are refused."""
        kept, refused = root_facts.admit_metadata(metadata)
        if refused:
            self.say_once("metadata", "metadata keys %s are reserved and left out", refused)
        self.identity.metadata.update(kept)
        if self.sampled:
            metadata, room = self.identity.metadata, self._limits.metadata
            self.root.set_attributes(root_facts.app_attributes(metadata, room=room))

    def add_tags(self, tags: Iterable[str]) -> None:
        """Add tags, each once."""
        known = self.identity.tags
        known.extend(tag for tag in root_facts.clean_tags(tags) if tag not in known)
        if self.sampled and known:
            self.root.set_attribute(names.LS_TAGS, ",".join(known))

    def tighten(self, settings: Settings) -> None:
        """Stricter privacy of later settings holds from now on; nothing is loosened."""
        self.policy = self.policy.stricter(
            capture=settings.capture_content, audio=settings.record_audio
        )
        self.spans.policy = self.policy

    def say_once(self, key: str, message: str, *arguments: object) -> None:
        """Log a warning once per conversation."""
        if key not in self._said:
            self._said.add(key)
            said = message % arguments if arguments else message
            logger.warning("conversation %s: %s", self.identity.thread_id, said)

    def tool_raised(self, span: Span, error: Exception, at_ns: int, *, private: bool) -> None:
        """An app's tool raised; ``private``: nothing of its words may be told."""
        if not span.is_recording():
            return
        policy = self.policy if not private else replace(self.policy, inputs=False, outputs=False)
        failure, stacktrace = raised(error, policy)
        fail(span, failure, at_ns, stacktrace)

    # -- the end -------------------------------------------------------------------------------------

    def end(
        self,
        state: ConversationState,
        tally: Tally,
        recorder: Recorder,
        ending: Ending,
        moment: Moment,
    ) -> None:
        """End the root on the app's task; rendering and delivery go on behind it."""
        self.post()
        closing = self._closing(state, tally, recorder, ending, moment)
        closing.end(self.root, marked=self.delivery is not None and not self.refused)
        self.metrics.closed(moment.t / 1e9, "error" if ending.failure else "ok")
        losses.lose(losses.EVENT, self.spans.dropped)
        RUNTIME.finisher.submit(
            Finish(
                recorder=recorder,
                settings=self.settings,
                recorded=self.recorded,
                name=self.name,
                info=recording_info(self.identity, self.trace_id, self.run_id, self.clock.start_ns),
                delivery=self.delivery,
                closing=lambda: closing.counted_anew().run(),
                done=self._done,
                tidy=partial(RUNTIME.tidy, self.settings),
            )
        )

    def make_sure(self, at_ns: int) -> None:
        """End the root if a fault or an interrupt kept ``end`` from doing it."""
        if self.root.is_recording():
            finish(self.root, at_ns)

    def _closing(
        self,
        state: ConversationState,
        tally: Tally,
        recorder: Recorder,
        ending: Ending,
        moment: Moment,
    ) -> Closing:
        return Closing(
            who=self.identity,
            trace_id=self.trace_id,
            start_ns=self.clock.start_ns,
            state=state,
            sound=recorder,
            tally=tally,
            ending=ending,
            moment=moment,
            policy=self.policy,
            dropped=self.spans.dropped,
            records=self.records,
            leg=self._choice.leg,
            by_runs_api=self._choice.root_by_runs_api,
            refused=self.refused,
            limit=self.payload_limit,
        )

    @property
    def name(self) -> str:
        """File name of a kept recording, without extension."""
        thread = _UNFIT_FOR_FILES.sub("_", self.identity.thread_id)[:80].lstrip(".-")
        return f"{thread or 'call'}-{self.run_id[-17:].replace('-', '')}"

    def _done(self, recording: str | None) -> None:
        if recording is not None:
            self.metrics.upload(recording)
        RUNTIME.finished(self.stamp)


def content_policy(settings: Settings, config: LangSmithConfig) -> ContentPolicy:
    """What may be stored: our switch, and LangSmith's ``HIDE`` variables on top of it."""
    capture = settings.capture_content
    return ContentPolicy(
        inputs=capture and not config.hide_inputs,
        outputs=capture and not config.hide_outputs,
        audio=capture and not (config.hide_inputs or config.hide_outputs),
        redact=settings.redact,
    )


def _choose(settings: Settings, config: LangSmithConfig, provider: object) -> LegChoice:
    choice = choose_leg(settings.langsmith, config, draw=random.random())
    if choice.problem:
        say_once(choice.problem)
    where = exporter_to_langsmith(provider) if choice.leg != names.LEG_NONE else None
    if where is not None:
        say_once(_TWO_ROOTS.format(where=where))
        return LegChoice(names.LEG_COLLECTOR, False, "the app itself exports to LangSmith")
    return choice


def _sdk(span: Span) -> SdkSpan:
    """A recording span of the SDK; other tracers' spans take the same calls."""
    return cast("SdkSpan", span)


@lru_cache(maxsize=64)
def skip_rule(globs: tuple[str, ...]) -> Callable[[str], bool]:
    """A test whether an event type is one that never becomes a span."""
    if not globs:
        return lambda _kind: False
    match = re.compile("|".join(translate(glob) for glob in globs)).match
    return lru_cache(maxsize=1024)(lambda kind: match(kind) is not None)
