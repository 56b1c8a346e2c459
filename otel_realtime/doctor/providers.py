"""Checks the tracer provider: the current one, and those that the two ways to start an app would set up."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from opentelemetry import trace

from otel_realtime.credentials import without_secrets
from otel_realtime.delivery.otlp import chosen, endpoint
from otel_realtime.doctor.children import ChildError, run_child
from otel_realtime.doctor.model import Result, Status, Surroundings
from otel_realtime.errors import ConfigError
from otel_realtime.langsmith.app_exports import exporter_to_langsmith, processors_of
from otel_realtime.setup.destinations import span_exporters
from otel_realtime.setup.providers import config_file, is_disabled

_ENTRY_POINT: Final = "openai_realtime"
_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
#: Prints the variables that the chosen distro sets before anything is set up.
_DISTRO: Final = """
import json, os
from importlib.metadata import entry_points
wanted = os.environ.get("OTEL_PYTHON_DISTRO")
found = [one for one in entry_points(group="opentelemetry_distro") if wanted in (None, "", one.name)]
before = dict(os.environ)
if found:
    found[0].load()().configure()
changed = {k: v for k, v in os.environ.items() if before.get(k) != v}
name = found[0].dist.name if found and found[0].dist else "of this app" if found else ""
print(json.dumps({"name": name, "set": changed}))
"""


def current_provider() -> object | None:
    """Return the global provider, if one is set; OpenTelemetry's own getter could set one up."""
    return getattr(trace, "_TRACER_PROVIDER", None)


def look(here: Surroundings) -> Iterator[Result]:
    """Report the current provider, and what ``configure()`` would set up."""
    if is_disabled():
        yield Result(
            id="provider.disabled",
            title="OpenTelemetry",
            status="fail",
            seen="OTEL_SDK_DISABLED is true",
            effect="nothing is traced or recorded",
            fix="unset OTEL_SDK_DISABLED",
        )
        return
    provider = current_provider()
    if provider is not None:
        yield _current(provider)
    yield from _of_configure(here)


def _current(provider: object) -> Result:
    names = [_described(one) for one in processors_of(provider)]
    kind = f"{type(provider).__module__}.{type(provider).__qualname__}"
    twice = exporter_to_langsmith(provider)
    listed = ", ".join(names) or "no processors that can be seen"
    return Result(
        id="provider.current",
        title="provider of this process",
        status="warn" if twice else "ok",
        seen=f"{kind}: {listed}",
        effect="conversations go to LangSmith by it, without their recordings" if twice else "",
        fix=f"remove {twice}" if twice else "",
    )


def _described(processor: object) -> str:
    exporter = getattr(processor, "span_exporter", None)
    if exporter is None:
        return type(processor).__name__
    address = getattr(exporter, "_endpoint", None)
    to = f" to {without_secrets(address)}" if isinstance(address, str) else ""
    return f"{type(processor).__name__} with {type(exporter).__name__}{to}"


def _of_configure(here: Surroundings) -> Iterator[Result]:
    title, id_ = "configure()", "provider.configure"
    file = config_file()
    if file is not None:
        yield _file(*file)
        return
    try:
        spans, metrics = span_exporters(here.settings), chosen("METRICS")
    except ConfigError:
        return  # `otlp` reports it
    listed = [
        f"{what} to {', '.join(found)}"
        for what, found in (("spans", spans), ("metrics", metrics))
        if found
    ]
    yield Result(
        id=id_,
        title=title,
        status="ok" if listed else "info",
        seen="would export " + " and ".join(listed) if listed else "would export nothing",
    )


def _file(variable: str, path: str) -> Result:
    title, id_ = "OpenTelemetry's file", "provider.file"
    effect = "otel_realtime.configure() raises ConfigError, and sets nothing up"
    try:
        from opentelemetry.configuration import load_config_file

        load_config_file(path)
    except ImportError:
        fix = "pip install opentelemetry-configuration"
        seen = f"{variable}={path}, and nothing that reads it"
        return Result(id=id_, title=title, status="fail", seen=seen, effect=effect, fix=fix)
    except Exception as error:  # noqa: BLE001 - the reader of the file may raise anything
        seen = f"{variable}={path}: {' '.join(str(error).split())[:200]}"
        fix = "correct the file"
        return Result(id=id_, title=title, status="fail", seen=seen, effect=effect, fix=fix)
    return Result(
        id=id_, title=title, status="ok", seen=f"{path} can be read; it says where spans go"
    )


def look_at_auto(here: Surroundings) -> Iterator[Result]:
    """Report what ``opentelemetry-instrument`` would do with an app."""
    title = "opentelemetry-instrument"
    left_out = [name.strip() for name in os.environ.get(_DISABLED, "").split(",")]
    if not entry_points(group="opentelemetry_instrumentor", name=_ENTRY_POINT):
        yield Result(
            id="auto.entry_point",
            title=title,
            status="warn",
            seen=f"the entry point {_ENTRY_POINT} is not installed",
            effect="it does not find this package; otel_realtime.instrument() works all the same",
            fix="pip install otel-realtime",
        )
    elif _ENTRY_POINT in left_out or "*" in left_out:
        yield Result(
            id="auto.entry_point",
            title=title,
            status="fail",
            seen=f"{_DISABLED} names {_ENTRY_POINT if _ENTRY_POINT in left_out else '*'}",
            effect="it leaves this package out: no call is traced",
            fix=f"take it out of {_DISABLED}, or call otel_realtime.instrument()",
        )
    if is_disabled() or config_file() is not None:
        return
    try:
        found = run_child(_DISTRO, timeout_s=here.timeout_s)
    except ChildError as error:
        yield _auto("info", f"what its distro does is not known: {error}")
        return
    yield _judged(found["name"], found["set"])


def _judged(distro: str, sets: Mapping[str, Any]) -> Result:
    if not distro:
        return _auto(
            "info",
            "no distro is installed",
            "it sets no provider up: spans go nowhere unless the app does",
            "pip install opentelemetry-distro, or call otel_realtime.configure()",
        )
    protocol = str(sets.get("OTEL_EXPORTER_OTLP_PROTOCOL", ""))
    url = endpoint("TRACES")
    if protocol == "grpc" and url and ":4318" in url and not _own_protocol():
        return _auto(
            "warn",
            f"the distro {distro} sets OTEL_EXPORTER_OTLP_PROTOCOL=grpc, and {url} is a port of HTTP",
            "its exporter gets no span through; that of otel_realtime.configure() does",
            "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
        )
    listed = ", ".join(f"{name}={value}" for name, value in sorted(sets.items()))
    if "OTEL_TRACES_EXPORTER" in sets and not url:
        effect = (
            "it sends spans to a Collector on this machine (localhost), whether there is one or not"
        )
        fix = "set OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_TRACES_EXPORTER=none"
        return _auto("info", f"the distro {distro} sets {listed}", effect, fix)
    return _auto("ok", f"the distro {distro}" + (f" sets {listed}" if listed else ""))


def _own_protocol() -> str:
    return os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "").strip()


def _auto(status: Status, seen: str, effect: str = "", fix: str = "") -> Result:
    return Result(
        id="auto.distro",
        title="opentelemetry-instrument",
        status=status,
        seen=seen,
        effect=effect,
        fix=fix,
    )
