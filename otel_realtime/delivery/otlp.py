"""The exporters that OpenTelemetry's environment variables select.

``OTEL_TRACES_EXPORTER`` and ``OTEL_METRICS_EXPORTER`` name them, and ``OTEL_EXPORTER_OTLP_PROTOCOL``
selects the kind of OTLP. The SDK's exporters read the other variables themselves (endpoint, headers,
certificates, timeout, compression). Variables:

- https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#exporter-selection
- https://opentelemetry.io/docs/specs/otel/protocol/exporter/

Two defaults differ from those of ``opentelemetry-distro``: nothing is sent to ``localhost`` unless
OTLP was requested, and OTLP is ``http/protobuf``, as the specification recommends.

Exporters are found as the SDK finds them, by their entry points, which are public. The SDK's functions
that do the same are private (``opentelemetry.sdk._configuration``) and are not used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from otel_realtime.errors import ConfigError

if TYPE_CHECKING:
    import requests
    from opentelemetry.sdk.trace.export import SpanExporter

_OTLP: Final = "OTEL_EXPORTER_OTLP_"
#: Entry point group of each signal's exporters.
_GROUPS: Final = {
    "TRACES": "opentelemetry_traces_exporter",
    "METRICS": "opentelemetry_metrics_exporter",
}
#: Value of ``OTEL_EXPORTER_OTLP_PROTOCOL`` -> name of the exporter.
_PROTOCOLS: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
#: Modules of the OTLP exporters, imported only when selected, because gRPC is heavy.
_MODULES: Final = {
    "otlp_proto_grpc": "opentelemetry.exporter.otlp.proto.grpc",
    "otlp_proto_http": "opentelemetry.exporter.otlp.proto.http",
}
_CLASSES: Final = {
    "TRACES": ("trace_exporter", "OTLPSpanExporter"),
    "METRICS": ("metric_exporter", "OTLPMetricExporter"),
}
#: Variables for CA bundles that ``requests`` prefers:
#: https://requests.readthedocs.io/en/latest/user/advanced/#ssl-cert-verification
_BUNDLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
#: Variable for the entry point that makes the exporter's session, for all signals or for one.
_PROVIDER: Final = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_{}CREDENTIAL_PROVIDER"


def read(name: str) -> str:
    """Return a variable without surrounding space; empty if it is not set."""
    return os.environ.get(name, "").strip()


def endpoint(signal: str) -> str | None:
    """Return the endpoint of a signal, ``TRACES`` or ``METRICS``; ``None`` if none is set."""
    return read(f"{_OTLP}{signal}_ENDPOINT") or read(f"{_OTLP}ENDPOINT") or None


def is_otlp(name: str) -> bool:
    """Return whether an exporter's name is that of an OTLP exporter."""
    return name in _MODULES


def chosen(signal: str) -> list[str]:
    """Return the names of a signal's exporters; for OTLP, the name depends on the protocol.

    Args:
        signal: ``TRACES`` or ``METRICS``.

    Raises:
        ConfigError: an exporter or the protocol is unknown.
    """
    variable = f"OTEL_{signal}_EXPORTER"
    given = read(variable)
    if given.lower() == "none" or not (given or endpoint(signal)):
        return []
    names = [name.strip().lower() for name in (given or "otlp").split(",") if name.strip()]
    found: dict[str, None] = {}  # in order, without duplicates
    for name in names:
        if name == "otlp":
            found[_otlp_exporter(signal)] = None
        elif is_otlp(name) or entry_points(group=_GROUPS[signal], name=name):
            found[name] = None
        else:
            installed = {"otlp", *(one.name for one in entry_points(group=_GROUPS[signal]))}
            raise ConfigError(
                f"{variable}={given!r}: {name!r} is not one of {', '.join(sorted(installed))}; "
                "none switches it off"
            )
    return list(found)


def _otlp_exporter(signal: str) -> str:
    """Return the name of the exporter for the protocol that the environment selects."""
    for variable in (f"{_OTLP}{signal}_PROTOCOL", f"{_OTLP}PROTOCOL"):
        given = read(variable)
        if given:
            return choose(variable, given, _PROTOCOLS)
    return _PROTOCOLS["http/protobuf"]


def choose(variable: str, given: str, choices: Mapping[str, str]) -> str:
    """Return the meaning of a variable's value.

    Raises:
        ConfigError: the value is not one of the choices.
    """
    try:
        return choices[given.lower()]
    except KeyError:
        raise ConfigError(f"{variable}={given!r}: expected one of {', '.join(choices)}") from None


def exporter_class(signal: str, name: str) -> Any:
    """Return the class of an exporter, or, for metrics, of a reader.

    Args:
        signal: ``TRACES`` or ``METRICS``.
        name: one of ``chosen(signal)``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        if is_otlp(name):
            module, attribute = _CLASSES[signal]
            return getattr(import_module(f"{_MODULES[name]}.{module}"), attribute)
        (first, *_) = entry_points(group=_GROUPS[signal], name=name)
        return first.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the exporter {name} cannot be imported: {error}") from error


def make_exporter(signal: str, name: str) -> Any:
    """Return a new exporter or reader, configured by its own variables.

    Args:
        signal: ``TRACES`` or ``METRICS``.
        name: one of ``chosen(signal)``.

    Raises:
        ConfigError: it is not installed, or one of its variables has a value that it rejects.
    """
    found = exporter_class(signal, name)
    try:
        return found(session=_trusting_session()) if is_overruled(signal, name) else found()
    except Exception as error:
        # For OTLP this is a timeout or a compression; the SDK does not say which variable it is.
        raise ConfigError(f"the exporter {name} refuses its variables: {error}") from error


def is_overruled(signal: str, name: str) -> bool:
    """Return whether ``requests`` would trust another file than the one in the exporter's variable.

    A session prefers its own two variables to the file that is set on it, and since 1.45 the exporter
    sets the file there. An exporter with a session of an installed credential provider is left alone.
    """
    return (
        name == _PROTOCOLS["http/protobuf"]
        and any(map(read, _BUNDLES))
        and bool(read(f"{_OTLP}{signal}_CERTIFICATE") or read(f"{_OTLP}CERTIFICATE"))
        and not any(map(read, (_PROVIDER.format(""), _PROVIDER.format(f"{signal}_"))))
    )


def _trusting_session() -> requests.Session:
    """Return a session that trusts the file it is given, whatever else the environment names."""
    import requests

    class Session(requests.Session):
        def merge_environment_settings(
            self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
        ) -> Any:
            given = self.verify if verify is None else verify
            return super().merge_environment_settings(url, proxies, stream, given, cert)

    return Session()


def trace_exporter() -> SpanExporter | None:
    """Return the OTLP span exporter that the environment selects; ``None`` if it selects none.

    Raises:
        ConfigError: as for ``chosen`` and ``make_exporter``.
    """
    for name in chosen("TRACES"):
        if is_otlp(name):
            exporter: SpanExporter = make_exporter("TRACES", name)
            return exporter
    return None
