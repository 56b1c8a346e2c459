"""Where LangSmith is, with which key, and who delivers a conversation to it.

The variables are those of LangSmith's own client: ``LANGSMITH_*``, else ``LANGCHAIN_*``; an empty
one counts as unset.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from otel_realtime.attributes import LEG_COLLECTOR, LEG_DIRECT, LEG_NONE
from otel_realtime.diagnostics import warn_once
from otel_realtime.settings import parse_bool

DEFAULT_API_URL: Final = "https://api.smith.langchain.com"
_HOSTED: Final = "smith.langchain.com"
_MB_HOSTED: Final = 180.0
_MB_ELSEWHERE: Final = 24.0  # a self-hosted LangSmith's web server takes 25 MB by default


def _read(env: Mapping[str, str], name: str) -> str | None:
    for namespace in ("LANGSMITH_", "LANGCHAIN_"):
        value = env.get(namespace + name, "").strip().strip("\"'").strip()
        if value:
            return value
    return None


def _flag(env: Mapping[str, str], name: str) -> bool | None:
    text = _read(env, name)
    if text is None:
        return None
    try:
        return parse_bool(text)
    except ValueError as error:
        warn_once(("LANGSMITH", name, text), "LANGSMITH_%s=%r is ignored: %s", name, text, error)
        return None


def _rate(env: Mapping[str, str]) -> float | None:
    text = _read(env, "TRACING_SAMPLING_RATE")
    if text is None:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if 0.0 <= rate <= 1.0:
        return rate
    warn_once(
        ("LANGSMITH", "TRACING_SAMPLING_RATE", text),
        "LANGSMITH_TRACING_SAMPLING_RATE=%r is ignored: expected a number from 0 to 1",
        text,
    )
    return None


def warn_key_refused(config: LangSmithConfig, status: int | None, answer: object) -> None:
    """Log what a refused key means: one line, whether a span or a root run met it first."""
    warn_once(
        ("key", config, status),
        "LangSmith refused spans and root runs of this process (%s). What it was to deliver "
        "stays on disk for `otel-realtime recover`; the app's own exporters are not affected",
        answer,
    )


def _api_url(env: Mapping[str, str]) -> str:
    url = (_read(env, "ENDPOINT") or DEFAULT_API_URL).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.netloc:
        return url
    warn_once(
        ("LANGSMITH", "ENDPOINT", url),
        "LANGSMITH_ENDPOINT=%r is not an http(s) address: nothing can be delivered to "
        "LangSmith until it is corrected (LangSmith's own is %s)",
        url,
        DEFAULT_API_URL,
    )
    return url


@dataclass(frozen=True, slots=True, kw_only=True)
class LangSmithConfig:
    """LangSmith's address and credentials, and what its variables ask for.

    Attributes:
        api_url: base of the API without a trailing slash.
        api_key: the key, None when there is none; never part of the repr.
        project: name of the project runs go to.
        workspace_id: sent as ``X-Tenant-Id``; org-scoped keys need it.
        tracing: ``LANGSMITH_TRACING``; None when it is not set.
        sampling_rate: 0 to 1, None when every conversation goes.
        hide_inputs: inputs must not leave the process.
        hide_outputs: outputs must not leave the process.
    """

    api_url: str = DEFAULT_API_URL
    api_key: str | None = field(default=None, repr=False)
    project: str = "default"
    workspace_id: str | None = None
    tracing: bool | None = None
    sampling_rate: float | None = None
    hide_inputs: bool = False
    hide_outputs: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> LangSmithConfig:
        """Read LangSmith's variables; a value that cannot be used is said once and ignored."""
        env = os.environ if env is None else env
        tracing = _flag(env, "TRACING_V2")
        return cls(
            api_url=_api_url(env),
            api_key=_read(env, "API_KEY"),
            project=_read(env, "PROJECT") or _read(env, "SESSION") or "default",
            workspace_id=_read(env, "WORKSPACE_ID"),
            tracing=_flag(env, "TRACING") if tracing is None else tracing,
            sampling_rate=_rate(env),
            hide_inputs=_flag(env, "HIDE_INPUTS") or False,
            hide_outputs=_flag(env, "HIDE_OUTPUTS") or False,
        )

    @property
    def otlp_traces_url(self) -> str:
        """Full address for spans; behind a self-hosted front end OTLP lives under ``/api/v1``."""
        base = self.api_url + "/v1" if self.api_url.endswith("/api") else self.api_url
        return base + "/otel/v1/traces"

    @property
    def web_url(self) -> str:
        """Base address of the pages people look at."""
        parts = urlsplit(self.api_url)
        host, path = parts.netloc, parts.path
        if is_langsmith_host(self.api_url):
            labels = [label for label in host.split(".") if label != "api"]
            host = ".".join(labels)
        for end in ("/api/v1", "/api"):
            path = path.removesuffix(end)
        return urlunsplit((parts.scheme, host, path, "", ""))

    def headers(self) -> dict[str, str]:
        """Return the headers that authenticate a request; they hold the key."""
        headers = {"x-api-key": self.api_key or "", "User-Agent": "otel-realtime"}
        if self.workspace_id:
            headers["X-Tenant-Id"] = self.workspace_id
        return headers

    def run_url(self, tenant_id: str, project_id: str, run_id: str) -> str:
        """Return the page of one run."""
        return f"{self.web_url}/o/{tenant_id}/projects/p/{project_id}/r/{run_id}?poll=true"

    def attachment_limit(self, max_mb: float | None = None) -> int:
        """Return the largest attachment in bytes: the given MB, else what the host takes."""
        if max_mb is None:
            max_mb = _MB_HOSTED if is_langsmith_host(self.api_url) else _MB_ELSEWHERE
        return int(max_mb * 1_000_000)


def is_langsmith_host(url: str) -> bool:
    """Tell whether a URL points at LangSmith's own cloud, any region."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host == _HOSTED or host.endswith("." + _HOSTED)


@dataclass(frozen=True, slots=True)
class LegChoice:
    """Who delivers one conversation to LangSmith.

    Attributes:
        leg: value of ``otel_realtime.langsmith.leg``: ``direct``, ``collector`` or ``none``.
        root_by_runs_api: this process posts the root run (and can attach the recording).
        reason: why, in one clause, for the log.
        problem: what the user should correct, None when all is well.
    """

    leg: str
    root_by_runs_api: bool
    reason: str
    problem: str | None = None


_NO_KEY: Final = (
    "{asked} but no API key is set: set LANGSMITH_API_KEY (or set LANGSMITH_TRACING=false); "
    "this process sends nothing to LangSmith"
)


def choose_leg(setting: str, config: LangSmithConfig, *, draw: float = 0.0) -> LegChoice:
    """Decide who delivers a conversation to LangSmith.

    Args:
        setting: ``Settings.langsmith``.
        config: LangSmith's own variables.
        draw: a random number in [0, 1) for LangSmith's sampling rate, drawn per conversation.
    """
    if setting == "off":
        return LegChoice(LEG_NONE, False, "switched off by the langsmith setting")
    if setting == "direct":
        if config.api_key:
            return LegChoice(LEG_DIRECT, True, "asked for by the langsmith setting")
        problem = _NO_KEY.format(asked="Direct delivery to LangSmith is asked for")
        return LegChoice(LEG_NONE, False, "no key for direct delivery", problem)
    if setting == "collector":
        return LegChoice(LEG_COLLECTOR, bool(config.api_key), "asked for by the langsmith setting")
    return _choose_automatically(config, draw)


def _choose_automatically(config: LangSmithConfig, draw: float) -> LegChoice:
    if config.tracing is False:
        return LegChoice(LEG_NONE, False, "LANGSMITH_TRACING is false")
    if config.sampling_rate is not None and draw >= config.sampling_rate:
        return LegChoice(LEG_NONE, False, "left out by LANGSMITH_TRACING_SAMPLING_RATE")
    if config.tracing is None:
        return LegChoice(LEG_COLLECTOR, False, "LANGSMITH_TRACING is not set")
    if config.api_key:
        return LegChoice(LEG_DIRECT, True, "LANGSMITH_TRACING is true and a key is set")
    problem = _NO_KEY.format(asked="LANGSMITH_TRACING is true")
    return LegChoice(LEG_COLLECTOR, False, "no key in this process", problem)
