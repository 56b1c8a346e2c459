"""Checks environment variables: their effects, misspelt names, and values that do not parse.

The known names come from the code that reads them: the fields of ``Settings``, the reader of LangSmith's
variables, and the SDK's own lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Final

from otel_realtime.credentials import SECRET, names_secret
from otel_realtime.diagnostics import Said
from otel_realtime.doctor.model import Result, Status, Surroundings
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.settings import GENAI_CAPTURE, PREFIX, Settings

#: Fields of ``Settings`` that no variable can hold.
_CALLABLES: Final = ("redact", "on_recording")
_NAMESPACES: Final = ("LANGSMITH_", "LANGCHAIN_")
#: Effects of the LangSmith variables that this package reads, by name without the namespace.
_LANGSMITH: Final[dict[str, str]] = {
    "API_KEY": "authenticates this process at LangSmith",
    "ENDPOINT": "where LangSmith's API is",
    "PROJECT": "project that conversations go to",
    "SESSION": "project that conversations go to, under its older name",
    "WORKSPACE_ID": "workspace of a key that belongs to an organisation",
    "TRACING": "true: conversations go to LangSmith; false: they do not",
    "TRACING_V2": "the older name of LANGSMITH_TRACING, which wins",
    "TRACING_SAMPLING_RATE": "share of the conversations that goes to LangSmith",
    "HIDE_INPUTS": "inputs and all sound stay in this process",
    "HIDE_OUTPUTS": "outputs and all sound stay in this process",
    "AGENT_ID": "addresses an agent instead of a project, with LANGSMITH_AGENT_ENVIRONMENT",
    "AGENT_ENVIRONMENT": "addresses an agent instead of a project, with LANGSMITH_AGENT_ID",
}
#: Further variables of LangSmith's own client, which this package ignores.
_CLIENTS_OWN: Final[dict[str, str]] = {
    "RUNS_ENDPOINTS": "LangSmith's own client sends to each of them; conversations go to LANGSMITH_ENDPOINT only",
    "OTEL_ENABLED": "LangSmith's own client exports by OpenTelemetry; conversations do not change",
    "OTEL_ONLY": "LangSmith's own client exports by OpenTelemetry only; conversations do not change",
    "HIDE_METADATA": "followed by LangSmith's own client only: metadata of conversations is sent",
}
_OTEL: Final[dict[str, str]] = {
    "OTEL_SDK_DISABLED": "true: nothing is traced",
    "OTEL_TRACES_EXPORTER": "exporters of spans",
    "OTEL_METRICS_EXPORTER": "exporters of metrics",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "base address of an OTLP backend",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "whole address of an OTLP backend, for spans",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "protocol of OTLP",
    "OTEL_EXPORTER_OTLP_HEADERS": "headers of every OTLP request",
    "OTEL_TRACES_SAMPLER": "share of the conversations that is traced and recorded",
    "OTEL_TRACES_SAMPLER_ARG": "argument of the sampler",
    "OTEL_SERVICE_NAME": "service that spans are of",
    "OTEL_RESOURCE_ATTRIBUTES": "attributes of the resource that spans are of",
    "OTEL_CONFIG_FILE": "a file sets OpenTelemetry up; other variables of it do not hold",
    GENAI_CAPTURE: "whether content is captured, unless OTEL_REALTIME_CAPTURE_CONTENT says",
}
#: Variables that truncate this package's JSON to invalid JSON if they are set too low.
_LIMITS: Final = ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")
_SDK_LISTS: Final = (
    "opentelemetry.environment_variables",
    "opentelemetry.sdk.environment_variables",
    "opentelemetry.instrumentation.environment_variables",
)
_HEADERS: Final = re.compile(r"HEADERS$")
#: Similarity from which a name counts as misspelt: in our namespaces, and outside of them.
_ALIKE, _VERY_ALIKE = 0.8, 0.9
_SHORTEST: Final = 10


class _Asked(Mapping[str, str]):
    """An empty environment that records which names are read."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def of_settings() -> dict[str, str]:
    """Return a mapping of variable -> setting."""
    names = (item.name for item in fields(Settings) if item.name not in _CALLABLES)
    return {PREFIX + name.upper(): name for name in names}


def of_langsmith() -> frozenset[str]:
    """Return the variables of LangSmith that this package reads."""
    asked = _Asked()
    LangSmithConfig.from_env(asked)
    return frozenset(asked.names)


def of_opentelemetry() -> frozenset[str]:
    """Return the variables that OpenTelemetry's own packages list."""
    found = {GENAI_CAPTURE, *_OTEL}
    for module in _SDK_LISTS:
        try:
            names = vars(import_module(module)).values()
        except ImportError:  # another version does not have this module
            continue
        found.update(name for name in names if isinstance(name, str) and name.startswith("OTEL_"))
    return frozenset(found)


def known() -> frozenset[str]:
    """Return every variable that is known to be read."""
    own = {space + name for space in _NAMESPACES for name in _CLIENTS_OWN}
    return frozenset((*of_settings(), *of_langsmith(), *of_opentelemetry(), *own))


def look(here: Surroundings) -> Iterator[Result]:
    """Check all variables of the environment."""
    settings, langsmith, all_known = of_settings(), of_langsmith(), known()
    refused = _refused(here.heard)
    told: set[Said] = set()
    for name in sorted(here.env):
        text = here.env[name]
        if name in all_known and not text.strip():
            if name in settings or name in langsmith:
                yield _result(name, "info", "empty", "counts as unset")
        elif name in refused:
            told.update(refused[name])
            why = "; ".join(said.text for said in refused[name])
            yield _result(name, "warn", _shown(name, text), why, f"correct or unset {name}")
        elif name in settings:
            field = settings[name]
            value = getattr(here.settings, field)
            value = str(value) if isinstance(value, Path) else value
            yield _result(name, "ok", _shown(name, text), f"Settings.{field} is {value!r}")
        elif name in langsmith:
            yield _of_langsmith(name, text, here.env)
        elif name in all_known:
            yield _of_others(name, text)
        else:
            yield from _unknown(name, all_known)
    # Warnings about several variables together, or about a variable that is not set.
    for said in here.heard:
        if said not in told:
            yield _result("environment", "warn", said.text, "", "correct what it names")
            told.add(said)


def _refused(heard: tuple[Said, ...]) -> dict[str, list[Said]]:
    """Return the warnings about each variable."""
    found: dict[str, list[Said]] = {}
    for said in heard:
        key = said.key if isinstance(said.key, tuple) else (said.key,)
        if key[0] == "env":
            found.setdefault(str(key[1]), []).append(said)
        elif key[0] == "LANGSMITH" and key[1] != "AGENT":
            for namespace in _NAMESPACES:  # either may be set
                found.setdefault(f"{namespace}{key[1]}", []).append(said)
    return found


def _of_langsmith(name: str, text: str, env: Mapping[str, str]) -> Result:
    namespace, _, rest = name.partition("_")
    preferred = f"LANGSMITH_{rest}"
    if namespace == "LANGCHAIN" and env.get(preferred, "").strip() and env[preferred] != text:
        return _result(name, "info", _shown(name, text), f"{preferred} wins")
    return _result(name, "ok", _shown(name, text), _LANGSMITH.get(rest, ""))


def _of_others(name: str, text: str) -> Result:
    for namespace in _NAMESPACES:
        effect = _CLIENTS_OWN.get(name.removeprefix(namespace))
        if name.startswith(namespace) and effect:
            return _result(name, "info", _shown(name, text), effect)
    if name in _LIMITS and text.strip().isdecimal() and int(text) < 1024:
        effect = "long values are cut, JSON too, which no backend can read then"
        return _result(name, "warn", _shown(name, text), effect, f"unset {name}")
    return _result(name, "info", _shown(name, text), _OTEL.get(name, "read by OpenTelemetry"))


def _unknown(name: str, all_known: frozenset[str]) -> Iterator[Result]:
    """Report a variable that is not known to be read; its value may be a credential, so it is not shown."""
    ours = name.upper().startswith((PREFIX, *_NAMESPACES))
    if len(name) < _SHORTEST or not (ours or "_" in name):
        return
    cutoff = _ALIKE if ours else _VERY_ALIKE
    near = get_close_matches(name.upper(), all_known, n=1, cutoff=cutoff)
    if near and near[0] != name and _means(name.upper(), near[0]):
        fix = f"did you mean {near[0]}?"
        yield _result(name, "warn", "set", "nobody reads it", fix)
    elif name.upper().startswith(PREFIX):
        yield _result(
            name,
            "warn",
            "set",
            "there is no such setting",
            "all are listed at https://github.com/otel-realtime/otel-realtime/blob/main/.github/docs/operating.md#settings",
        )
    elif ours:
        yield _result(name, "info", "set", "not read by this package")


def _means(name: str, near: str) -> bool:
    """Return whether one name can be a misspelling of another, and not just a related name.

    ``OTEL_EXPORTER_OTLP_LOGS_HEADERS`` is similar to ``..._OTLP_HEADERS``, but not a misspelling of it.
    """
    ours, theirs = name.split("_"), near.split("_")
    if name.startswith("OTEL_") and not name.startswith(PREFIX):
        return abs(len(ours) - len(theirs)) == 0
    return True


def _shown(name: str, text: str) -> str:
    """Return a value in a form without credentials."""
    text = text.strip()
    if names_secret(name):
        return f"{SECRET}, {len(text)} characters"
    if _HEADERS.search(name):
        names = [pair.partition("=")[0].strip() for pair in text.split(",") if "=" in pair]
        return f"headers {', '.join(names) or SECRET}"
    if name.endswith("RUNS_ENDPOINTS"):
        return SECRET
    return text


def _result(name: str, status: Status, seen: str, effect: str = "", fix: str = "") -> Result:
    return Result(
        id=f"env.{name}",
        title=name,
        status=status,
        seen=seen,
        effect=effect,
        fix=fix,
    )
