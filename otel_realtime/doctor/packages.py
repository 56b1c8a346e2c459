"""Checks packages: versions, conflicts, other instrumentations, and clients that can be tapped."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from otel_realtime.doctor.children import ChildError, run_child
from otel_realtime.doctor.model import Result, Surroundings
from otel_realtime.version import VERSION

#: Client -> the modules of ``otel_realtime.tap`` that see its calls, and the lowest version. The table of
#: supported clients has the same entries (.github/docs/operating.md).
CLIENTS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "openai": (("sdk",), "1.58"),
    "websockets": (("websockets", "legacy"), "13"),
    "aiohttp": (("aiohttp",), "3.9"),
    "websocket-client": (("websocket_client",), "1.6"),
    "httpx-ws": (("httpx_ws",), "0.7"),
    "openai-agents": (("agents",), "0.2"),
    "pydantic-ai-slim": (("pydantic_ai",), ""),
    "pipecat-ai": (("pipecat",), ""),
    "livekit-agents": (("livekit",), ""),
    "rtvoice": (("rtvoice",), ""),
    "strands-agents": (("strands",), ""),
    "ag2": (("ag2",), ""),
}
#: Frameworks: even if they cannot be tapped, the socket below them is.
_FRAMEWORKS: Final = (
    "openai-agents",
    "pydantic-ai-slim",
    "pipecat-ai",
    "livekit-agents",
    "rtvoice",
    "strands-agents",
    "ag2",
)

_TWICE: Final = "if it is switched on for Realtime calls, they come twice"
#: Packages that observe the same calls, or our deliveries -> what that means, and what to do.
BESIDE: Final[dict[str, tuple[str, str]]] = {
    "ddtrace": (
        "with DD_TRACE_OTEL_ENABLED spans go to Datadog only: LangSmith gets a call's run and recording",
        "for spans in LangSmith, pass a TracerProvider of OpenTelemetry's SDK to instrument()",
    ),
    "newrelic": (
        "it traces this package's own requests to LangSmith as well",
        "ignore the host of LANGSMITH_ENDPOINT in its configuration",
    ),
    "logfire": (
        "logfire.configure() sets the global TracerProvider: conversations go where it exports to",
        "call it before the first conversation, and otel_realtime.configure() not at all",
    ),
    "traceloop-sdk": (
        "Traceloop.init() sets the global TracerProvider: conversations go where it exports to",
        "call it before the first conversation, and otel_realtime.configure() not at all",
    ),
    "openinference-instrumentation-openai-agents": (_TWICE, "leave it out for voice agents"),
    "opentelemetry-instrumentation-openai-agents": (_TWICE, "leave it out for voice agents"),
    "opentelemetry-instrumentation-genai-openai-agents": (_TWICE, "leave it out for voice agents"),
    "opentelemetry-instrumentation-openai": (_TWICE, "switch its Realtime part off"),
    "opentelemetry-instrumentation-fastapi": (
        "it makes a span of each message of a media websocket, about 50 a second",
        'instrument_app(app, exclude_spans=["receive", "send"])',
    ),
}
#: OpenTelemetry packages that are released together.
_TOGETHER: Final = (
    (
        "opentelemetry-api",
        "opentelemetry-sdk",
        "opentelemetry-proto",
        "opentelemetry-exporter-otlp",
    ),
    ("opentelemetry-instrumentation", "opentelemetry-semantic-conventions", "opentelemetry-distro"),
)

#: Finds which of the methods that a tap replaces exist in the installed libraries.
_TAPPED: Final = """
import importlib, json, sys
from otel_realtime.tap.patches import Instrumentation
found = {}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module("otel_realtime.tap." + name)
        instrumentations = [v for v in vars(module).values() if isinstance(v, Instrumentation)]
        found[name] = [m for one in instrumentations for m in one.presence()]
    except Exception as error:
        found[name] = type(error).__name__ + ": " + str(error)
print(json.dumps(found))
"""


def look(here: Surroundings) -> Iterator[Result]:
    """Compare versions with the bounds, and name other relevant packages."""
    yield Result(
        id="versions",
        title="versions",
        status="ok",
        seen=f"otel-realtime {VERSION}, OpenTelemetry {_installed('opentelemetry-sdk')}, "
        f"Python {platform.python_version()} on {sys.platform}",
    )
    yield from _bounds("otel-realtime")
    yield from _together()
    for name, (effect, fix) in BESIDE.items():
        found = _installed(name)
        if found:
            yield Result(
                id=f"beside.{name}", title=f"{name} {found}", status="info",
                seen="installed", effect=effect, fix=fix,
            )  # fmt: skip
    if os.name != "posix":
        yield Result(
            id="system",
            title="system",
            status="warn",
            seen=sys.platform,
            effect="nothing is recovered after a crash: that needs POSIX record locks",
            fix="run it on Linux or macOS",
        )


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _bounds(name: str) -> Iterator[Result]:
    """Compare a package's requirements with the installed versions; those of extras only if installed."""
    try:
        requires = distribution(name).requires or []
    except PackageNotFoundError:
        return
    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        extra = requirement.marker is not None and "extra" in str(requirement.marker)
        if not extra and requirement.marker is not None and not requirement.marker.evaluate():
            continue
        found = _installed(requirement.name)
        if found and not requirement.specifier.contains(found, prereleases=True):
            seen = f"{requirement.name} {found}, and {requirement.specifier} is required"
        elif not found and not extra:
            seen = f"{requirement.name} is not installed"
        else:
            continue
        yield Result(
            id=f"versions.{requirement.name}",
            title="versions",
            status="warn" if extra else "fail",
            seen=seen,
            effect="what was never tried together may break" if found else "importing fails",
            fix=f'pip install "{requirement.name}{requirement.specifier}"',
        )


def _together() -> Iterator[Result]:
    for names in _TOGETHER:
        found = {name: _installed(name) for name in names}
        there = {name: text for name, text in found.items() if text}
        if len({_release(text) for text in there.values()}) > 1:
            listed = ", ".join(f"{name} {text}" for name, text in there.items())
            yield Result(
                id="versions.opentelemetry",
                title="versions",
                status="warn",
                seen=f"packages that are released together differ: {listed}",
                effect="imports may fail, and instrumentations be skipped",
                fix="pip install --upgrade " + " ".join(there),
            )


def _release(text: str) -> tuple[int, ...]:
    try:
        return Version(text).release[:2]
    except InvalidVersion:
        return ()


def look_at_clients(here: Surroundings) -> Iterator[Result]:
    """Report for each installed client whether its calls are seen."""
    there = {name: found for name in CLIENTS if (found := _installed(name))}
    if not there:
        yield Result(
            id="clients",
            title="Realtime clients",
            status="warn",
            seen="none of those that are known is installed",
            effect="only what the app reports with received() and sent() is traced",
            fix="pip install openai websockets",
        )
        return
    # Separately, because frameworks take long to import.
    for names in (set(there).difference(_FRAMEWORKS), set(there).intersection(_FRAMEWORKS)):
        yield from _tapped({name: there[name] for name in there if name in names}, here.timeout_s)


def _tapped(there: dict[str, str], timeout_s: float) -> Iterator[Result]:
    """Report whether clients, given with their versions, can be tapped."""
    modules = [module for name in there for module in CLIENTS[name][0]]
    if not modules:
        return
    try:
        answers: dict[str, Any] = run_child(_TAPPED, *modules, timeout_s=timeout_s)
    except ChildError as error:
        listed = ", ".join(f"{name} {found}" for name, found in there.items())
        yield Result(
            id="clients",
            title="Realtime clients",
            status="warn",
            seen=f"{listed}: whether they can be tapped is not known: {error}",
            fix="give it more time with --timeout",
        )
        return
    for name, found in there.items():
        yield _client(name, found, {module: answers[module] for module in CLIENTS[name][0]})


def _client(name: str, found: str, answers: dict[str, Any]) -> Result:
    lowest = CLIENTS[name][1]
    title, id_ = f"{name} {found}", f"clients.{name}"
    broken = [text for text in answers.values() if isinstance(text, str)]
    methods = [one for listed in answers.values() if isinstance(listed, list) for one in listed]
    # Another version may have a method elsewhere: of those with the same purpose, one is enough.
    seen_by = {one["missed"] for one in methods if one["there"]}
    missed = [one["missed"] for one in methods if not one["there"] and one["missed"]]
    missed = [text for text in missed if text not in seen_by]
    if lowest and Version(found) < Version(lowest):
        return Result(
            id=id_, title=title, status="fail", seen=f"older than {lowest}",
            effect="its calls may not be seen", fix=f'pip install "{name}>={lowest}"',
        )  # fmt: skip
    if broken or not any(one["there"] for one in methods):
        seen = broken[0] if broken else "none of the methods that are replaced is there"
        framework = name in _FRAMEWORKS
        return Result(
            id=id_,
            title=title,
            status="warn" if framework else "fail",
            seen=f"cannot be tapped: {seen}",
            effect="its tools have the times of the wire"
            if framework
            else "its calls are not seen",
            fix="update otel-realtime, or use an earlier version of it",
        )
    if missed:
        return Result(
            id=id_, title=title, status="warn", seen="tapped in part", effect="; ".join(missed),
            fix="update otel-realtime, or use an earlier version of it",
        )  # fmt: skip
    return Result(id=id_, title=title, status="ok", seen="can be tapped")
