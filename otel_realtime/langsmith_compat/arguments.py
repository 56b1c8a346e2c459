"""Translates the arguments of LangSmith's wrappers; each unused argument is logged once."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from otel_realtime.conversation.options import Options, options_of
from otel_realtime.conversation.services import PROCESS
from otel_realtime.diagnostics import logger_of, warn_once
from otel_realtime.langsmith.config import LangSmithConfig, agent_address
from otel_realtime.settings import PREFIX
from otel_realtime.setup.fallback import fallback_provider

logger = logger_of(__name__)

#: LangSmith's defaults: the sample rate in Hz, and how many seconds of audio it keeps in memory.
DEFAULT_SAMPLE_RATE: Final = 24_000
DEFAULT_MAX_AUDIO_SECONDS: Final = 600
#: Metadata keys by which LangSmith groups runs into threads; the first key that is present counts.
#: https://docs.langchain.com/langsmith/threads
_THREAD_KEYS: Final = ("session_id", "conversation_id", "thread_id")


@dataclass(frozen=True, slots=True)
class Plan:
    """The translated arguments of a wrapper.

    Attributes:
        options: options of the conversation, without settings and provider.
        records: whether audio is recorded.
        hides: whether the given client hides content.
        native: arguments for LangSmith's own tracing context, which ``@traceable`` functions use.
    """

    options: Options
    records: bool
    hides: bool
    native: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        *,
        thread_id: str | None,
        project_name: str | None,
        address: Any,
        tags: list[str] | None,
        metadata: dict[str, Any] | None,
        max_audio_seconds: float | None,
        client: Any,
        replicas: Any,
    ) -> Plan:
        options = options_of(metadata=metadata, tags=tags or ())
        given = dict(options.metadata)
        named = [given.pop(key) for key in _THREAD_KEYS if given.get(key)]
        if any(other != named[0] for other in named):
            _say("metadata", f"a run has one thread, {named[0]!r}; the ids of others are left out")
        project = _project(project_name, address)
        options = replace(
            options,
            thread_id=named[0] if named else thread_id,
            metadata=given,
            project=project,
            join=False,  # one wrapper, one conversation
        )
        if replicas:
            _say("replicas", "runs go to one destination")
        if max_audio_seconds not in (None, 0, DEFAULT_MAX_AUDIO_SECONDS):
            _say("max_audio_seconds", "the recording is on disk, and has the whole conversation")
        native = {"tags": list(options.tags), "project_name": project_name}
        if project is not None and project_name is None:  # LangSmith refuses it beside a project
            native["address"] = address
        return cls(options, max_audio_seconds != 0, _hides(client), native)

    @property
    def is_private(self) -> bool:
        """Whether content is hidden or audio is not recorded."""
        return self.hides or not self.records

    def complete(self) -> Options:
        """Return the options of a conversation that opens now."""
        settings = PROCESS.effective_settings
        chosen = PROCESS.settings is not None
        config = LangSmithConfig.from_env()
        # LangSmith's wrapper needs only a key, and it names the root run after the first utterance.
        if settings.langsmith == "auto" and config.tracing is None and config.api_key:
            settings = replace(settings, langsmith="direct")
        if not chosen and f"{PREFIX}TITLE" not in os.environ:
            settings = replace(settings, title="first_utterance")
        if self.hides:
            settings = replace(settings, capture_content=False)
        if not self.records:
            settings = replace(settings, record_audio=False)
        provider = fallback_provider(settings)
        return replace(self.options, settings=settings, tracer_provider=provider)


def _say(argument: str, instead: str) -> None:
    warn_once(
        ("langsmith_compat", argument),
        "%s= of wrap_realtime is not used by otel-realtime: %s",
        argument,
        instead,
        log=logger,
    )


def _project(name: str | None, address: Any) -> str | None:
    """Return the project that the arguments name; ``None`` means the environment's project."""
    if address is None:
        return name
    found = (
        agent_address(address.get("id"), address.get("environment"))
        if isinstance(address, Mapping)
        else None
    )
    if found is None:
        _say("address", f"{address!r} is no address of an agent")
    elif name is not None:
        _say("address", f"runs go to project {name!r}, which was given beside it")
    return name if name is not None else found


def _hides(client: Any) -> bool:
    """Return whether a LangSmith client hides content; log which of its other settings are not used."""
    kind = getattr(sys.modules.get("langsmith.client"), "Client", None)
    if not isinstance(kind, type) or not isinstance(client, kind):
        return False
    config = LangSmithConfig.from_env()
    used = {"api_url": config.api_url, "api_key": config.api_key}
    for name, value in used.items():
        if (getattr(client, name, None) or "") != (value or ""):
            _say("client", "LANGSMITH_ENDPOINT and LANGSMITH_API_KEY say where runs go")
    hides = (
        getattr(client, "_anonymizer", None)
        or (getattr(client, "_hide_inputs", None) and not config.hide_inputs)
        or (getattr(client, "_hide_outputs", None) and not config.hide_outputs)
    )
    if hides:
        _say(
            "client",
            "it hides content, so all content of the call is hidden; LANGSMITH_HIDE_INPUTS, "
            "LANGSMITH_HIDE_OUTPUTS and Settings.redact are finer",
        )
    return bool(hides)
