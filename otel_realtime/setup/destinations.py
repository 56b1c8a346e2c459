"""Where the environment sends conversations, in words, for a command that is about to send some."""

from __future__ import annotations

from otel_realtime.delivery.otlp import chosen, endpoint, is_otlp
from otel_realtime.errors import ConfigError
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.route import delivers_directly, is_delivered_directly
from otel_realtime.settings import Settings
from otel_realtime.setup.providers import config_file, is_disabled

#: What to set where nothing is.
NOWHERE = (
    "nothing says where to send it: set LANGSMITH_TRACING=true and LANGSMITH_API_KEY for LangSmith, "
    "or OTEL_EXPORTER_OTLP_ENDPOINT for an OTLP backend (otel-realtime sandbox is both, on this "
    "machine)"
)


def destinations(settings: Settings) -> list[str]:
    """Return where the environment sends spans; empty: nowhere.

    Raises:
        ConfigError: OpenTelemetry is switched off, or a variable has a value that is none.
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
    url = endpoint("TRACES")
    for name in chosen("TRACES"):
        if is_otlp(name) and url and is_delivered_directly(url, settings):
            continue
        plain = "the console" if name == "console" else f"the exporter {name}"
        found.append((url or "an OTLP backend on this machine") if is_otlp(name) else plain)
    return found
