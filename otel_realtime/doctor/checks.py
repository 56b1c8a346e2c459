"""The table of checks, in the order in which they are shown."""

from __future__ import annotations

from typing import Final

from otel_realtime.doctor import (
    langsmith_api,
    otlp,
    packages,
    providers,
    sound,
    state_directory,
    topology,
    variables,
)
from otel_realtime.doctor.model import Check

CHECKS: Final[tuple[Check, ...]] = (
    Check(id="environment", group="Environment", look=variables.look),
    Check(id="delivery", group="Who delivers what", look=topology.look),
    Check(id="langsmith", group="LangSmith", look=langsmith_api.look),
    Check(id="otlp", group="OTLP", look=otlp.look),
    Check(id="provider", group="OpenTelemetry", look=providers.look),
    Check(id="auto", group="OpenTelemetry", look=providers.look_at_auto),
    Check(id="state", group="State directory", look=state_directory.look),
    Check(id="versions", group="Packages", look=packages.look),
    Check(id="clients", group="Packages", look=packages.look_at_clients),
    Check(id="sound", group="Sound", look=sound.look),
)
