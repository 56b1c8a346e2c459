"""Decides where a conversation is delivered, when it opens: by settings and LangSmith's variables.

| topology | leg | root run | spans below it |
| --- | --- | --- | --- |
| key in the process | direct | runs API | our exporter |
| key in the process, ``langsmith="collector"`` | collector | runs API | the app's exporters |
| no key in the process | collector | OTLP | the app's exporters |
| off, not sampled | none | - | - |

Exactly one path delivers each part; otherwise LangSmith would show the conversation twice.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from otel_realtime.attributes import LEG_COLLECTOR, LEG_DIRECT, LEG_NONE
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.delivery.otlp import endpoint, trace_exporter
from otel_realtime.diagnostics import logger_of, warn_once
from otel_realtime.errors import ConfigError
from otel_realtime.langsmith.app_exports import exporter_to_langsmith, is_seen_by_others
from otel_realtime.langsmith.config import (
    LangSmithConfig,
    LegChoice,
    choose_leg,
    delivers_directly,
    is_langsmith_host,
)
from otel_realtime.langsmith.hiding import hidden_sides
from otel_realtime.langsmith.ids import dotted_order, run_id
from otel_realtime.langsmith.stamping import TraceStamp
from otel_realtime.state.spool import Spool
from otel_realtime.tracing.members import Membership
from otel_realtime.tracing.route import Route, Services

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from otel_realtime.delivery.model import Backend
    from otel_realtime.settings import Settings

logger = logger_of(__name__)

_TWO_ROOTS: Final = (
    "conversations are delivered to LangSmith by the app's own TracerProvider (%s), without their "
    "recordings; to get recordings, remove that exporter (where LANGSMITH_OTEL_ENABLED made it: unset "
    "that, or set a TracerProvider of the app's own first) and set LANGSMITH_TRACING=true and "
    "LANGSMITH_API_KEY, and otel-realtime delivers conversations itself"
)


def choose_route(
    settings: Settings, provider: object, services: Services, project: str | None = None
) -> Route:
    """Decide where a conversation that opens now is delivered; a ``tracing.route.ChooseRoute``.

    Args:
        settings: settings of the conversation.
        provider: the app's ``TracerProvider``, which may export to LangSmith itself.
        services: services of the process, which keeps one backend per project and state directory.
        project: project or agent's address to use instead of the environment's.
    """
    config = LangSmithConfig.from_env()
    if project is not None:
        config = replace(config, project=project)
    choice, policy = choose(settings, config, provider), content_policy(settings, config)

    def join(**fields: Any) -> Membership:
        if choice.root_by_runs_api:
            linked = choice.leg != LEG_DIRECT or is_seen_by_others(provider)
            hidden = hidden_sides(policy)
            return TraceStamp(project=config.project, linked=linked, hidden=hidden, **fields)
        return Membership(**fields)

    return Route(
        leg=choice.leg,
        policy=policy,
        connect=partial(_connect, config, settings, services) if choice.root_by_runs_api else None,
        join=join,
        note=lambda membership: journal_note(config, membership),
    )


def _connect(config: LangSmithConfig, settings: Settings, services: Services) -> Backend:
    place = (settings.state_dir, config.address, config.project, partial(services.tidy, settings))

    def make() -> Backend:
        from otel_realtime.langsmith.backend import LangSmith  # imports requests

        return LangSmith(config, Spool(*place))

    def make_for_worker() -> Backend:
        from otel_realtime.langsmith.spooled import Spooled

        return Spooled(Spool(*place, unsent=True))

    if settings.deliver == "worker":
        return services.backend(("worker", config, settings.state_dir), make_for_worker)
    return services.backend(("langsmith", config, settings.state_dir), make)


def journal_note(config: LangSmithConfig, membership: Membership) -> dict[str, Any]:
    """Return the backend's address for the journal's header; never the key.

    ``api_url_of`` and ``project_of`` read it back; the other values are for human readers.
    """
    root_run_id = run_id(membership.root_span_id)
    return {
        "api_url": config.address,
        "project": config.project,
        "root_run_id": root_run_id,
        "dotted_order": dotted_order(membership.start_ns, root_run_id),
    }


def api_url_of(note: Mapping[str, Any]) -> str | None:
    """Return the URL of the API that a journaled conversation is for; ``None``: unknown."""
    url = note.get("api_url")
    return url if isinstance(url, str) else None


def project_of(note: Mapping[str, Any]) -> str:
    """Return the project that a journaled conversation is for."""
    project = note.get("project")
    return project if isinstance(project, str) and project else "default"


def content_policy(settings: Settings, config: LangSmithConfig) -> ContentPolicy:
    """Return which content may be stored, by our own setting and LangSmith's ``HIDE`` variables.

    LangSmith's client empties the inputs, or the outputs, of every run, whoever spoke there. The user's
    words are hidden in the outputs as well (the transcript) if inputs are hidden, and the other way round.
    https://docs.langchain.com/langsmith/mask-inputs-outputs
    """
    capture = settings.capture_content
    return ContentPolicy(
        inputs=capture and not config.hide_inputs,
        outputs=capture and not config.hide_outputs,
        # One file holds both sides, so either variable hides all of it.
        audio=capture and not (config.hide_inputs or config.hide_outputs),
        run_inputs=not config.hide_inputs,
        run_outputs=not config.hide_outputs,
        redact=settings.redact,
        silences=settings.redact_audio,
    )


def choose(
    settings: Settings, config: LangSmithConfig, provider: object, *, draw: float | None = None
) -> LegChoice:
    """Decide who delivers a conversation to LangSmith.

    Args:
        settings: settings of the conversation.
        config: LangSmith's variables.
        provider: the app's ``TracerProvider``, which may export to LangSmith itself.
        draw: number in [0, 1) for LangSmith's sampling rate; ``None``: a random one.
    """
    draw = random.random() if draw is None else draw
    choice = choose_leg(settings.langsmith, config, draw=draw, worker=settings.deliver == "worker")
    if choice.problem:
        warn_once(("leg", choice.problem), "%s", choice.problem)
    exporter = exporter_to_langsmith(provider) if choice.leg != LEG_NONE else None
    if exporter is not None:
        warn_once(("two roots", exporter), _TWO_ROOTS, exporter)
        return LegChoice(LEG_COLLECTOR, False)
    return choice


def is_delivered_directly(url: str, settings: Settings) -> bool:
    """Return whether an OTLP endpoint is LangSmith's, and this process delivers to it by itself."""
    if is_langsmith_host(url) and delivers_directly(settings, LangSmithConfig.from_env()):
        logger.info("not exporting to %s by OTLP: this process delivers to LangSmith directly", url)
        return True
    return False


def other_exporter(settings: Settings) -> SpanExporter | None:
    """Return the environment's OTLP exporter; ``None`` if there is none, or its target is served anyway."""
    url = endpoint("TRACES")
    if url and is_delivered_directly(url, settings):
        return None
    try:
        return trace_exporter()
    except ConfigError as error:
        warn_once(("otlp", str(error)), "%s; nothing is exported by OTLP", error)
        return None
