"""What a configuration of OpenTelemetry results in: ours, or that of ``opentelemetry-distro``.

``python -m tests.support.configured ours|distro`` reads a list of environments (JSON) from its input, sets
OpenTelemetry up in each of them, in a process of its own, and writes what came of it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

#: What its variables set of an exporter: in itself, or in its client, session or transport, as the version
#: of OpenTelemetry has it.
_PARTS = ("_client", "_transport", "_session")
_FIELDS = ("_endpoint", "_timeout", "_compression", "_insecure", "verify", "cert")


def configure_ours() -> None:
    """By ``configure()``."""
    import otel_realtime

    otel_realtime.configure()


def configure_distro() -> None:
    """As ``opentelemetry-instrument`` does."""
    from opentelemetry.distro import OpenTelemetryConfigurator, OpenTelemetryDistro

    OpenTelemetryDistro().configure()  # type: ignore[no-untyped-call]
    OpenTelemetryConfigurator().configure()  # type: ignore[no-untyped-call]


def _exporter(exporter: Any) -> dict[str, Any]:
    holders = [exporter]
    for holder in holders:  # grows meanwhile
        holders += [getattr(holder, name) for name in _PARTS if hasattr(holder, name)]
    facts = {
        name: str(getattr(holder, name))
        for name in _FIELDS
        for holder in holders
        if hasattr(holder, name)
    }
    headers = [holder._headers or () for holder in holders if hasattr(holder, "_headers")]
    pairs = [one.items() if isinstance(one, Mapping) else one for one in headers]
    facts["headers"] = str(sorted({(key.lower(), value) for some in pairs for key, value in some}))
    return {"type": f"{type(exporter).__module__}.{type(exporter).__qualname__}", **facts}


def result() -> dict[str, Any]:
    """The global providers, as far as the environment decides about them."""
    from opentelemetry import metrics, trace

    tracers: Any = trace.get_tracer_provider()
    meters: Any = metrics.get_meter_provider()
    processors = getattr(getattr(tracers, "_active_span_processor", None), "_span_processors", ())
    readers = getattr(getattr(meters, "_sdk_config", None), "metric_readers", ())
    resource = dict(getattr(getattr(tracers, "resource", None), "attributes", {}))
    tracer = tracers.get_tracer("app")
    sampler = getattr(getattr(tracers, "sampler", None), "get_description", str)()
    return {
        "sampler": sampler,
        "ids": type(getattr(tracers, "id_generator", None)).__qualname__,
        "resource": {
            key: value
            for key, value in resource.items()
            if key not in ("telemetry.auto.version", "service.instance.id")
        },
        # A share of the traces is drawn by lot.
        "records": "Ratio" in sampler or tracer.start_span("span").is_recording(),
        "spans": [
            (type(one).__name__, _exporter(getattr(one, "span_exporter", None)))
            for one in processors
        ],
        "metrics": [
            (type(one).__name__, _exporter(getattr(one, "_exporter", None))) for one in readers
        ],
    }


def _in_a_process_of_its_own(who: str, environment: Mapping[str, str]) -> Any:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.environ.update(environment)
        try:
            {"ours": configure_ours, "distro": configure_distro}[who]()
            found: Any = result()
        except Exception as error:
            traceback.print_exc()
            found = {"refused": str(error)}
        with os.fdopen(writing, "w") as out:
            json.dump(found, out)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        found = json.load(told)
    os.waitpid(child, 0)
    return found


def main() -> None:
    """Answer one request."""
    who, environments = sys.argv[1], json.load(sys.stdin)
    if who == "ours":
        import otel_realtime  # noqa: F401  # once, before the forks
    json.dump([_in_a_process_of_its_own(who, one) for one in environments], sys.stdout)


if __name__ == "__main__":
    main()
