"""The SDK's providers, as OpenTelemetry's environment variables want them.

What ``opentelemetry-distro`` does for an app that ``opentelemetry-instrument`` starts, by public means: the
constructors of the SDK, the entry points of exporters, samplers and id generators, and the package
``opentelemetry-configuration`` for a file. Resource, span limits, and the SDK's own samplers are read from
the environment by the SDK's constructors. Logs are left alone: this package writes none to OpenTelemetry.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from otel_realtime.delivery.otlp import choose, make_exporter, read
from otel_realtime.diagnostics import logger_of
from otel_realtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler

logger = logger_of(__name__)

#: Samplers that ``TracerProvider`` itself makes of ``OTEL_TRACES_SAMPLER``.
_OF_THE_SDK: Final = frozenset(
    {
        "always_on",
        "always_off",
        "parentbased_always_on",
        "parentbased_always_off",
        "traceidratio",
        "parentbased_traceidratio",
    }
)
#: Variables that name a file of declarative configuration; the second is the older one.
#: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#declarative-configuration
_FILES: Final = ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")


def is_disabled() -> bool:
    """Return whether ``OTEL_SDK_DISABLED`` switches the SDK off."""
    return read("OTEL_SDK_DISABLED").lower() == "true"


def tracer_provider(exporters: Sequence[SpanExporter]) -> TracerProvider:
    """Return a new tracer provider that exports in batches.

    Args:
        exporters: where to.

    Raises:
        ConfigError: an id generator is wanted that is not installed.
    """
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(sampler=_sampler(), id_generator=_id_generator())
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def meter_provider(names: Sequence[str]) -> MeterProvider:
    """Return a new meter provider.

    Args:
        names: of exporters, and of readers that are asked, like Prometheus's.

    Raises:
        ConfigError: one of them cannot be made.
    """
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

    # All are made before a reader starts its thread: the last one may be refused.
    made = [make_exporter("METRICS", name) for name in names]
    readers: list[MetricReader] = [
        one if isinstance(one, MetricReader) else PeriodicExportingMetricReader(one) for one in made
    ]
    return MeterProvider(metric_readers=readers)


def _sampler() -> Sampler | None:
    """Return a sampler of another package; ``None``: the SDK makes it of the same variables."""
    name = read("OTEL_TRACES_SAMPLER")
    found = entry_points(group="opentelemetry_traces_sampler", name=name) if name else ()
    if name.lower() in _OF_THE_SDK or not found:
        return None  # an unknown one is said by the SDK, which samples everything
    try:
        (first, *_) = found
        sampler: Sampler = first.load()(os.environ.get("OTEL_TRACES_SAMPLER_ARG"))
    except Exception as error:  # noqa: BLE001 - said; set-up goes on as the SDK's own would
        logger.warning("OTEL_TRACES_SAMPLER=%r: %s; sampling everything", name, error)
        return None
    return sampler


def _id_generator() -> IdGenerator | None:
    """Return the id generator of the environment; ``None``: the SDK's own."""
    name = read("OTEL_PYTHON_ID_GENERATOR")
    if not name:
        return None
    known = {one.name: one.name for one in entry_points(group="opentelemetry_id_generator")}
    name = choose("OTEL_PYTHON_ID_GENERATOR", name, known)
    (first, *_) = entry_points(group="opentelemetry_id_generator", name=name)
    try:
        generator: IdGenerator = first.load()()
    except Exception as error:
        raise ConfigError(f"OTEL_PYTHON_ID_GENERATOR={name!r}: {error}") from error
    return generator


def config_file() -> tuple[str, str] | None:
    """Return the variable that names a file of declarative configuration, and the file's path."""
    for name in _FILES:
        path = read(name)
        if path:
            return name, path
    return None


def set_up_from_file(variable: str, path: str) -> None:
    """Set the global providers up as a file says, which is then the only source.

    Args:
        variable: the variable that names it.
        path: the file, YAML or JSON.

    Raises:
        ConfigError: it cannot be read, or what reads it is not installed.
    """
    try:
        from opentelemetry.configuration import configure_sdk, load_config_file
    except ImportError as error:
        raise ConfigError(
            f"{variable}={path!r} needs `pip install opentelemetry-configuration`: {error}"
        ) from error
    try:
        configure_sdk(load_config_file(path))
    except Exception as error:
        raise ConfigError(f"{variable}={path!r}: {' '.join(str(error).split())}") from error
