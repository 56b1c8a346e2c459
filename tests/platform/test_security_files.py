"""The overlays of ``collector/security`` as files: they go with each other and with every other overlay."""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.platform.desk import MTLS, TLS
from tests.support.processes import CONFIGS

EVERYTHING: Final = ("config.yaml", "config.jaeger.yaml", "config.metrics.yaml")
OTHERS: Final = (
    ("config.yaml",),
    EVERYTHING,
    (*EVERYTHING, "config.jaeger-only.yaml"),
    (*EVERYTHING, "examples/jaeger-no-content.yaml"),
    ("config.yaml", "config.metrics.yaml", "config.kafka.yaml"),
    *(
        ("config.yaml", f"{folder}/{path.name}")
        for folder in ("examples", "backends")
        for path in sorted(CONFIGS.glob(f"{folder}/*.yaml"))
    ),
)
#: Sensible sets of overlays; TLS may also end in front of the Collector.
SECURITY: Final = tuple(
    (*transport, *who)
    for transport, who in product(
        ((), TLS, MTLS), ((), ("security/bearer.yaml",), ("security/oidc.yaml",))
    )
    if transport or who
)


@cache
def load(name: str) -> dict[str, Any]:
    """One file of the collector's folder."""
    loaded: dict[str, Any] = yaml.safe_load((CONFIGS / name).read_text())
    return loaded


def merged(names: tuple[str, ...]) -> dict[str, Any]:
    """What the Collector makes of several files: maps are merged, lists replaced."""

    def merge(first: Any, second: Any) -> Any:
        if not (isinstance(first, dict) and isinstance(second, dict)):
            return second
        return first | {key: merge(first.get(key), value) for key, value in second.items()}

    found: dict[str, Any] = {}
    for name in names:
        found = merge(found, load(name))
    return found


@pytest.mark.parametrize(
    "security", SECURITY, ids=lambda names: "+".join(Path(n).stem for n in names)
)
@pytest.mark.parametrize("others", OTHERS, ids=lambda names: "+".join(Path(n).stem for n in names))
def test_the_overlays_go_with_every_other_one(
    others: tuple[str, ...], security: tuple[str, ...]
) -> None:
    """Whichever comes first: nothing of the others is lost, and both receivers are guarded alike."""
    alone, both = merged(others), merged((*others, *security))
    assert both == merged((others[0], *security, *others[1:]))
    started = set(both["service"]["extensions"])
    assert set(alone["service"]["extensions"]) <= started
    assert alone["service"] | {"extensions": 0} == both["service"] | {"extensions": 0}
    for protocol in ("grpc", "http"):
        was, is_now = (one["receivers"]["otlp"]["protocols"][protocol] for one in (alone, both))
        guards = {key: value for key, value in is_now.items() if key not in was}
        assert was == {key: value for key, value in is_now.items() if key in was}
        assert (TLS[0] in security) == ("cert_file" in guards.get("tls", {}))
        assert (MTLS[1] in security) == ("client_ca_file" in guards.get("tls", {}))
        wanted = {"security/bearer.yaml": "bearertokenauth", "security/oidc.yaml": "oidc"}
        (authenticator,) = [wanted[name] for name in security if name in wanted] or [None]
        assert authenticator == guards.get("auth", {}).get("authenticator")
        assert authenticator is None or authenticator in started


def test_no_other_overlay_brings_extensions() -> None:
    """The list is replaced whole, so one with extensions of its own would take an authenticator out.

    Those that only take extensions out come first: after them an overlay of this folder is whole.
    """
    base = set(load("config.yaml")["service"]["extensions"])
    for path in sorted(path for path in CONFIGS.rglob("*.yaml") if path.parent.name != "security"):
        name = str(path.relative_to(CONFIGS))
        if path.name in ("builder-config.yaml", "jaeger.yaml"):
            continue
        named = load(name).get("service", {}).get("extensions", [])
        assert set(named) <= base, name
        if named and name != "config.yaml":
            both = merged(("config.yaml", name, *MTLS, "security/oidc.yaml"))
            assert "oidc" in both["service"]["extensions"]


def test_every_exporter_to_langsmith_can_be_told_an_authority() -> None:
    """A proxy that opens TLS stands before all of them."""
    told = {
        name: exporter.get("tls", {}).get("ca_file")
        for path in CONFIGS.rglob("*.yaml")
        if path.name not in ("builder-config.yaml", "jaeger.yaml")
        for name, exporter in load(str(path)).get("exporters", {}).items()
        if exporter and "api.smith.langchain.com" in exporter.get("endpoint", "")
    }
    assert {"otlp_http/langsmith", "otlp_http/acme", "otlp_http/globex"} <= told.keys()
    assert {"${env:LANGSMITH_OTLP_CA_FILE:-}"} == set(told.values())
