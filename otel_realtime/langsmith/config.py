"""LangSmith's address and credentials from the environment, and who delivers a conversation to it.

The variables are those of LangSmith's own client: ``LANGSMITH_*``, or else ``LANGCHAIN_*``. An empty
variable counts as unset.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from otel_realtime.attributes import LEG_COLLECTOR, LEG_DIRECT, LEG_NONE
from otel_realtime.credentials import without_secrets
from otel_realtime.diagnostics import warn_once
from otel_realtime.settings import Settings, parse_bool

DEFAULT_API_URL: Final = "https://api.smith.langchain.com"
DEFAULT_PROJECT: Final = "default"
#: Both are needed; the rules are those of LangSmith's client (``langsmith.address``).
_AGENT_VARIABLES: Final = ("LANGSMITH_AGENT_ID", "LANGSMITH_AGENT_ENVIRONMENT")
_AGENT_ID: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ENVIRONMENTS: Final = ("local", "development", "staging", "production")
_ADDRESS_OF: Final = "lrn:agents/{}/environments/{}"
_ADDRESS: Final = re.compile(r"lrn:agents/([^/]+)/environments/([^/]+)")
#: Domain of LangSmith's own cloud; regions are subdomains of it.
_HOSTED: Final = "smith.langchain.com"
#: Largest attachment in MB. LangSmith's cloud accepts about 200 MB, according to its client's voice code;
#: a self-hosted one 25 MB: https://github.com/langchain-ai/helm (charts/langsmith, maxBodySize)
_MB_HOSTED: Final = 180.0
_MB_ELSEWHERE: Final = 24.0


def variable(env: Mapping[str, str], name: str) -> str | None:
    """Return one of LangSmith's variables, given its name without the prefix."""
    for namespace in ("LANGSMITH_", "LANGCHAIN_"):
        # Quotes: ``docker run --env-file`` passes them on as part of the value.
        value = env.get(namespace + name, "").strip().strip("\"'").strip()
        if value:
            return value
    return None


def _flag(env: Mapping[str, str], name: str) -> bool | None:
    text = variable(env, name)
    if text is None:
        return None
    try:
        return parse_bool(text)
    except ValueError as error:
        warn_once(("LANGSMITH", name, text), "ignoring LANGSMITH_%s=%r: %s", name, text, error)
        return None


def _hides(env: Mapping[str, str], name: str) -> bool:
    """Return whether a side (inputs or outputs) is hidden.

    LangSmith's client hides it only for ``true`` in lower case. ``True`` and ``1`` mean the same here, and
    an unreadable value hides the side too, because content that was sent cannot be taken back.
    """
    text = variable(env, name)
    if text is None:
        return False
    try:
        return parse_bool(text)
    except ValueError as error:
        warn_once(
            ("LANGSMITH", name, text), "LANGSMITH_%s=%r is taken for true: %s", name, text, error
        )
        return True


def _rate(env: Mapping[str, str]) -> float | None:
    # https://docs.langchain.com/langsmith/sample-traces
    text = variable(env, "TRACING_SAMPLING_RATE")
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
        "ignoring LANGSMITH_TRACING_SAMPLING_RATE=%r: expected a number from 0 to 1",
        text,
    )
    return None


def _destination(env: Mapping[str, str]) -> str:
    """Return the destination of runs: the name of a project, or the address of an agent.

    With half an address, an invalid one, or one beside a project, LangSmith's own client does not trace
    a call. Here a warning is logged, and the conversation is delivered all the same.
    """
    project = variable(env, "PROJECT") or variable(env, "SESSION")
    parts = {name: env.get(name, "").strip() for name in _AGENT_VARIABLES}
    if not any(parts.values()):
        return project or DEFAULT_PROJECT
    agent, environment = parts.values()
    given = " ".join(f"{name}={value}" for name, value in parts.items() if value)
    address = agent_address(agent, environment)
    if address is None:
        warn_once(
            ("LANGSMITH", "AGENT", given),
            "ignoring %s: an agent's address needs LANGSMITH_AGENT_ID (lowercase letters, digits and "
            "hyphens) and LANGSMITH_AGENT_ENVIRONMENT (%s); runs go to project %r",
            given,
            ", ".join(_ENVIRONMENTS),
            project or DEFAULT_PROJECT,
        )
        return project or DEFAULT_PROJECT
    if project:
        warn_once(
            ("LANGSMITH", "AGENT", given, project),
            "conversations go to the agent of %s, not to project %r: unset one of them, because "
            "LangSmith's own client traces nothing while both are set",
            given,
            project,
        )
    return address


def agent_address(agent: object, environment: object) -> str | None:
    """Return the address of an agent; ``None`` if it is invalid. The environment may be in any case."""
    if not isinstance(agent, str) or not isinstance(environment, str):
        return None
    environment = environment.strip().lower()
    if not (_AGENT_ID.fullmatch(agent) and environment in _ENVIRONMENTS):
        return None
    return _ADDRESS_OF.format(agent, environment)


def agent_of(project: str) -> tuple[str, str] | None:
    """Return the id and environment in an agent's address; ``None`` if it is a project's name."""
    found = _ADDRESS.fullmatch(project)
    return None if found is None else (found[1], found[2])


def warn_key_refused(config: LangSmithConfig, status: int | None, answer: object) -> None:
    """Log once that LangSmith refuses the key, whether a span or a root run was refused first.

    Args:
        config: address and credentials.
        status: HTTP status.
        answer: the answer, with what to check.
    """
    warn_once(
        ("key", config, status),
        "LangSmith refused spans and root runs of this process (%s); what is on disk can be "
        "delivered later by `otel-realtime recover`, and the app's own exporters are not affected",
        answer,
    )


def _api_url(env: Mapping[str, str]) -> str:
    url = (variable(env, "ENDPOINT") or DEFAULT_API_URL).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.netloc:
        return url
    warn_once(
        ("LANGSMITH", "ENDPOINT", url),
        "LANGSMITH_ENDPOINT=%r is not an http(s) URL: nothing is delivered to LangSmith until it is "
        "corrected (LangSmith's own cloud is %s)",
        url,
        DEFAULT_API_URL,
    )
    return url


@dataclass(frozen=True, slots=True, kw_only=True)
class LangSmithConfig:
    """LangSmith's address and credentials, and the other variables of LangSmith's client.

    Attributes:
        api_url: base URL of the API, without a trailing slash.
        api_key: API key; ``None`` if there is none. It is never part of the repr.
        project: name of the project, or the address of an agent, which has a project of its own:
            ``lrn:agents/<id>/environments/<environment>``.
        workspace_id: sent as ``X-Tenant-Id``, which organisation-scoped keys need.
        tracing: ``LANGSMITH_TRACING``; ``None`` if it is not set.
        sampling_rate: fraction of conversations to deliver, 0 to 1; ``None``: all.
        hide_inputs: inputs must not leave the process:
            https://docs.langchain.com/langsmith/mask-inputs-outputs
        hide_outputs: outputs must not leave the process.
    """

    api_url: str = DEFAULT_API_URL
    api_key: str | None = field(default=None, repr=False)
    project: str = DEFAULT_PROJECT
    workspace_id: str | None = None
    tracing: bool | None = None
    sampling_rate: float | None = None
    hide_inputs: bool = False
    hide_outputs: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> LangSmithConfig:
        """Read LangSmith's variables; an invalid value is ignored with one warning.

        Args:
            env: variables; ``None``: the process's environment.
        """
        env = os.environ if env is None else env
        tracing = _flag(env, "TRACING_V2")  # older name, which LangSmith's client prefers
        return cls(
            api_url=_api_url(env),
            api_key=variable(env, "API_KEY"),
            project=_destination(env),
            workspace_id=variable(env, "WORKSPACE_ID"),
            tracing=_flag(env, "TRACING") if tracing is None else tracing,
            sampling_rate=_rate(env),
            hide_inputs=_hides(env, "HIDE_INPUTS"),
            hide_outputs=_hides(env, "HIDE_OUTPUTS"),
        )

    @property
    def address(self) -> str:
        """The base URL as it may be written to disk, without a user or password."""
        return without_secrets(self.api_url)

    @property
    def otlp_traces_url(self) -> str:
        """Full URL for spans. A self-hosted server has OTLP under ``/api/v1``."""
        base = self.api_url + "/v1" if self.api_url.endswith("/api") else self.api_url
        return base + "/otel/v1/traces"

    @property
    def web_url(self) -> str:
        """Base URL of LangSmith's web pages."""
        parts = urlsplit(self.api_url)
        host, path = parts.netloc, parts.path
        if is_langsmith_host(self.api_url):  # eu.api.smith.langchain.com -> eu.smith.langchain.com
            labels = [label for label in host.split(".") if label != "api"]
            host = ".".join(labels)
        for end in ("/api/v1", "/api"):
            path = path.removesuffix(end)
        return urlunsplit((parts.scheme, host, path, "", ""))

    @property
    def account(self) -> tuple[str, str | None, str | None]:
        """The account whose requests LangSmith counts: server, key and workspace."""
        return self.api_url, self.api_key, self.workspace_id

    def headers(self) -> dict[str, str]:
        """Return the headers that authenticate a request; they contain the key."""
        headers = {"x-api-key": self.api_key or "", "User-Agent": "otel-realtime"}
        if self.workspace_id:
            headers["X-Tenant-Id"] = self.workspace_id
        return headers

    def otlp_destination(self) -> dict[str, str]:
        """Return the headers with the spans' destination; LangSmith refuses a request with both kinds."""
        agent = agent_of(self.project)
        if agent is None:
            return {"Langsmith-Project": self.project}
        return {"Langsmith-Agent-Id": agent[0], "Langsmith-Agent-Environment": agent[1]}

    def run_destination(self) -> dict[str, str]:
        """Return the fields of a run with its destination; the API calls a project a session."""
        key = "session_name" if agent_of(self.project) is None else "address"
        return {key: self.project}

    def run_url(self, tenant_id: str, project_id: str, run_id: str) -> str:
        """Return the URL of a run's page."""
        return f"{self.web_url}/o/{tenant_id}/projects/p/{project_id}/r/{run_id}?poll=true"

    def attachment_limit(self, max_mb: float | None = None) -> int:
        """Return the largest attachment in bytes.

        Args:
            max_mb: limit in MB; ``None``: what the host accepts.
        """
        if max_mb is None:
            max_mb = _MB_HOSTED if is_langsmith_host(self.api_url) else _MB_ELSEWHERE
        return int(max_mb * 1_000_000)


def is_langsmith_host(url: str) -> bool:
    """Return whether a URL belongs to LangSmith's own cloud, in any region."""
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
        root_by_runs_api: this process posts the root run, and can attach the recording.
        problem: what the user should correct; ``None`` if there is no problem.
    """

    leg: str
    root_by_runs_api: bool
    problem: str | None = None


_NO_KEY: Final = (
    "{setting}, but this process sends nothing to LangSmith, because no API key is set: set "
    "LANGSMITH_API_KEY (or LANGSMITH_TRACING=false)"
)


def choose_leg(
    setting: str, config: LangSmithConfig, *, draw: float = 0.0, worker: bool = False
) -> LegChoice:
    """Decide who delivers a conversation to LangSmith.

    Args:
        setting: ``Settings.langsmith``.
        config: LangSmith's own variables.
        draw: random number in [0, 1) for LangSmith's sampling rate, one per conversation.
        worker: another process, which has the key, delivers what this one writes.
    """
    # If LangSmith is requested explicitly, the worker's key is enough, and the app needs none.
    has_key = bool(config.api_key) or (worker and (setting == "direct" or config.tracing is True))
    if setting == "off":
        return LegChoice(LEG_NONE, False)
    if setting == "direct":
        if has_key:
            return LegChoice(LEG_DIRECT, True)
        problem = _NO_KEY.format(setting="Settings.langsmith is direct")
        return LegChoice(LEG_NONE, False, problem)
    if setting == "collector":
        return LegChoice(LEG_COLLECTOR, has_key)
    return _choose_automatically(config, draw, has_key=has_key)


def _choose_automatically(config: LangSmithConfig, draw: float, *, has_key: bool) -> LegChoice:
    if config.tracing is False:
        return LegChoice(LEG_NONE, False)
    if config.sampling_rate is not None and draw >= config.sampling_rate:
        return LegChoice(LEG_NONE, False)
    if config.tracing is None:
        return LegChoice(LEG_COLLECTOR, False)
    if has_key:
        return LegChoice(LEG_DIRECT, True)
    problem = _NO_KEY.format(setting="LANGSMITH_TRACING is true")
    return LegChoice(LEG_COLLECTOR, False, problem)


def delivers_directly(settings: Settings, config: LangSmithConfig) -> bool:
    """Return whether this process, or its worker, delivers conversations to LangSmith.

    Sampling is not considered.
    """
    worker = settings.deliver == "worker"
    return choose_leg(settings.langsmith, config, worker=worker).leg == LEG_DIRECT
