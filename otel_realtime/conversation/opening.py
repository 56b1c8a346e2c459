"""Opens a conversation: builds its trace, recorder and engine from the services of the process."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracerProvider

from otel_realtime.attributes import LEG_DIRECT, LEG_NONE
from otel_realtime.clock import Clock
from otel_realtime.conversation.blocks import note_opened
from otel_realtime.conversation.engine import Engine
from otel_realtime.conversation.workers import tool_of
from otel_realtime.core.protocol import dialects
from otel_realtime.core.protocol.json_values import safe_str
from otel_realtime.core.protocol.outcome import Identity, Provider, sanitize_metadata, sanitize_tags
from otel_realtime.diagnostics import warn_once
from otel_realtime.langsmith import parent_run
from otel_realtime.langsmith.app_exports import has_exporter
from otel_realtime.langsmith.hiding import clean
from otel_realtime.langsmith.ids import run_id
from otel_realtime.state.header import Header
from otel_realtime.state.owner import bytes_on_disk, new_folder
from otel_realtime.tracing.metrics import metrics_for
from otel_realtime.tracing.trace import Trace, warn_reserved

if TYPE_CHECKING:
    from otel_realtime.conversation.options import Options
    from otel_realtime.process.process import Process
    from otel_realtime.tap.interface import Handshake

_SLASH: Final = (
    "thread_id %r has a slash: LangSmith's page of such a thread may not open; use another "
    "character there"
)

_FOREIGN: Final = (
    "the TracerProvider is %s's, which takes no span processor: spans go where it sends them, and "
    "LangSmith gets the run of each conversation and its recording, but no spans below it; pass a "
    "TracerProvider of OpenTelemetry's SDK to instrument() to have them there"
)


def open_conversation(
    options: Options,
    process: Process,
    *,
    handshake: Handshake | None,
    caller: Context,
    post: bool = True,
) -> Engine:
    """Open a conversation, on the app's task or thread.

    Args:
        options: options of the app.
        process: services of this process.
        handshake: handshake of its socket, at which it starts; ``None`` means it starts now.
        caller: context of the app at the handshake; the root is linked to its current span.
        post: whether to send the root run to the backend at once.

    Returns:
        The engine; it is closed from the start if the conversation is not sampled.
    """
    settings = options.effective_settings(process.effective_settings)
    provider = process.tracer_provider_for(options.tracer_provider)
    # Before the root starts: the processor must see every span below it.
    seen = process.attach_processor(provider, partial(tool_of, process=process))
    identity = _identity(options, handshake)
    trace = Trace(
        identity,
        settings,
        Clock(handshake.started_ns, handshake.mono_ns) if handshake else Clock.now(),
        route=process.route(settings, provider, options.project),
        provider=provider,
        caller=caller,
        # The trace calls this, because sampling is known only once the root has started.
        metrics=lambda root, sampled: metrics_for(
            process.meter_provider,
            identity.provider.name,
            bytes_on_disk,
            root=root,
            on=sampled and settings.metrics,
        ),
        native=parent_run,
    )
    if "/" in identity.thread_id and trace.sampled and trace.route.leg != LEG_NONE:
        warn_once("thread id", _SLASH, identity.thread_id)
    if not seen and trace.sampled and trace.route.leg == LEG_DIRECT:
        warn_once("foreign provider", _FOREIGN, type(provider).__module__.partition(".")[0])
    trace.info["langsmith_run_id"] = run_id(trace.span_id)
    engine = Engine(trace, process)
    if handshake is not None:
        engine.frames.expect(handshake.path)
    if trace.sampled:
        try:
            _begin(engine, process, provider)
        except BaseException:  # do not leave an open root or members behind
            trace.ensure_ended(trace.clock.start_ns)
            process.finished(trace.membership)
            raise
        if post:
            trace.post()
    note_opened(engine, options.block, process)
    return engine


def _begin(engine: Engine, process: Process, provider: object) -> None:
    """Make a sampled conversation accept frames."""
    trace, settings = engine.trace, engine.trace.settings
    folder = new_folder(settings.state_dir) if trace.journaled else None
    recorder = process.writer.open(
        _header(trace, provider).to_wire(), folder=folder, on_tick=engine.tick, audio=trace.recorded
    )
    engine.begin(recorder)
    process.opened(engine, settings)


def open_untraced(options: Options, process: Process) -> Engine:
    """Open a conversation that is not traced; used inside ``suppress_instrumentation()``."""
    untraced = replace(options, tracer_provider=NoOpTracerProvider())
    return open_conversation(untraced, process, handshake=None, caller=Context(), post=False)


def _identity(options: Options, handshake: Handshake | None) -> Identity:
    query: Mapping[str, str] = handshake.query if handshake else {}
    # On a sideband connection, ``call_id`` in the query or the path names the call it observes.
    call_id = query.get("call_id") or (dialects.call_of(handshake.path) if handshake else None)
    given = None if options.thread_id is None else safe_str(options.thread_id)
    metadata, refused = sanitize_metadata(options.metadata)
    warn_reserved(refused)
    return Identity(
        thread_id=given or call_id or str(uuid.uuid4()),
        given_thread_id=bool(given),
        provider=Provider.from_host(
            handshake.host if handshake else None, handshake.port if handshake else None
        ),
        call_id=call_id,
        model=query.get("model"),
        metadata=metadata,
        tags=sanitize_tags(options.tags),
    )


def _header(trace: Trace, provider: object) -> Header:
    """Return the journal's header: what another process needs to finish this conversation."""
    settings, membership = trace.settings, trace.membership
    resource: Any = getattr(trace.root, "resource", None)
    return Header(
        trace_id=membership.trace_id,
        root_span_id=membership.root_span_id,
        start_ns=trace.clock.start_ns,
        mono_ns=trace.clock.mono_ns,
        who=trace.identity,
        ambient=trace.ambient,
        leg=membership.leg,
        delivers_root=trace.route.delivers_root,
        backend=dict(trace.route.note(membership)),
        policy=trace.writer.policy,
        records=trace.records,
        recorded=trace.recorded,
        name=trace.name,
        recordings_dir=settings.recordings_dir,
        audio_format=settings.audio_format,
        max_attachment_mb=settings.max_attachment_mb,
        title=settings.title,
        payload_limit=settings.payload_limit,
        false_interruption_ms=settings.false_interruption_ms,
        skip_events=settings.skip_events,
        resource=clean(resource.attributes) if resource is not None else {},
        # Our own exporter puts spans on disk before it sends them; for the app's exporter this is unknown.
        lists_spans=membership.leg == LEG_DIRECT,
        exports=has_exporter(provider),
    )
