"""Creates the SDK's providers as OpenTelemetry's environment variables configure them.

This is what ``opentelemetry-distro`` does for an app started by ``opentelemetry-instrument``, but with
public API only: the SDK's constructors, the entry points of exporters, samplers and id generators, and
the package ``opentelemetry-configuration`` for a file. The SDK's constructors read the resource, the span
limits and the SDK's own samplers from the environment. Logging is left alone, because this package writes
no OpenTelemetry logs.
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

#: Samplers that ``TracerProvider`` itself creates from ``OTEL_TRACES_SAMPLER``.
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
#: Variables that name a declarative configuration file; the second name is the older one.
#: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#declarative-configuration
_FILES: Final = ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")


def is_disabled() -> bool:
    """Return whether ``OTEL_SDK_DISABLED`` switches the SDK off."""
    return read("OTEL_SDK_DISABLED").lower() == "true"


def tracer_provider(exporters: Sequence[SpanExporter]) -> TracerProvider:
    """Return a new tracer provider that exports in batches.

    Args:
        exporters: exporters for the spans, each with its own batch processor.

    Raises:
        ConfigError: the requested id generator is not installed or cannot be created.
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
        names: names of exporters, or of pull-based readers such as Prometheus's.

    Raises:
        ConfigError: an exporter or reader cannot be created.
    """
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

    # Create all of them before a reader starts its thread, because the last one may be refused.
    made = [make_exporter("METRICS", name) for name in names]
    readers: list[MetricReader] = [
        one if isinstance(one, MetricReader) else PeriodicExportingMetricReader(one) for one in made
    ]
    return MeterProvider(metric_readers=readers)


def _sampler() -> Sampler | None:
    """Return a sampler from another package; ``None`` if the SDK creates its own from these variables."""
    name = read("OTEL_TRACES_SAMPLER")
    found = entry_points(group="opentelemetry_traces_sampler", name=name) if name else ()
    if name.lower() in _OF_THE_SDK or not found:
        return None  # the SDK itself warns about an unknown sampler and samples everything
    try:
        (first, *_) = found
        sampler: Sampler = first.load()(os.environ.get("OTEL_TRACES_SAMPLER_ARG"))
    except Exception as error:  # noqa: BLE001 - logged; set-up continues, as the SDK's own does
        logger.warning("OTEL_TRACES_SAMPLER=%r: %s; sampling everything", name, error)
        return None
    return sampler


def _id_generator() -> IdGenerator | None:
    """Return the id generator that the environment names; ``None`` means the SDK's own.

    Raises:
        ConfigError: it is not installed or cannot be created.
    """
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
    """Return the variable that names a declarative configuration file, and its path; ``None`` if unset."""
    for name in _FILES:
        path = read(name)
        if path:
            return name, path
    return None


def set_up_from_file(variable: str, path: str) -> None:
    """Set up the global providers from a file, which is then the only source of configuration.

    Args:
        variable: the variable that names the file.
        path: path of the file, in YAML or JSON.

    Raises:
        ConfigError: the file cannot be read, or the package that reads it is not installed.
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
