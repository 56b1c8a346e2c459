"""Describes where the environment sends conversations, and names the exporters of ``configure()``."""

from __future__ import annotations

from typing import Final

from otel_realtime.delivery.otlp import chosen, endpoint, is_otlp
from otel_realtime.errors import ConfigError
from otel_realtime.langsmith.config import LangSmithConfig, delivers_directly
from otel_realtime.langsmith.route import is_delivered_directly
from otel_realtime.settings import Settings
from otel_realtime.setup.providers import config_file, is_disabled

#: Tells the user what to set if no destination is set.
NOWHERE: Final = (
    "nothing says where to send it: set LANGSMITH_TRACING=true and LANGSMITH_API_KEY for LangSmith, "
    "or OTEL_EXPORTER_OTLP_ENDPOINT for an OTLP backend (otel-realtime sandbox is both, on this "
    "machine)"
)


def destinations(settings: Settings) -> list[str]:
    """Return descriptions of where the environment sends spans; an empty list means nowhere.

    Raises:
        ConfigError: OpenTelemetry is switched off, or a variable has an invalid value.
    """
    if is_disabled():
        raise ConfigError("OTEL_SDK_DISABLED=true: nothing is traced; unset it")
    config = LangSmithConfig.from_env()
    found = []
    if delivers_directly(settings, config):
        found.append(f"LangSmith ({config.api_url}, project {config.project})")
    file = config_file()
    if file is not None:
        return [*found, f"where {file[1]} says"]
    return [*found, *map(_in_words, span_exporters(settings))]


def span_exporters(settings: Settings) -> list[str]:
    """Return the names of the span exporters that ``configure()`` sets up.

    OTLP exporters are left out if their endpoint is LangSmith and this process delivers there itself.

    Args:
        settings: settings of the process.

    Raises:
        ConfigError: as for ``delivery.otlp.chosen``.
    """
    names, url = chosen("TRACES"), endpoint("TRACES")
    if url and any(map(is_otlp, names)) and is_delivered_directly(url, settings):
        return [name for name in names if not is_otlp(name)]
    return names


def _in_words(exporter: str) -> str:
    if is_otlp(exporter):
        return endpoint("TRACES") or "an OTLP backend on this machine"
    return "the console" if exporter == "console" else f"the exporter {exporter}"
