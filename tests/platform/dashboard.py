"""The shipped dashboard, and its queries as Grafana would send them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.support.processes import CONFIGS

GRAFANA: Final = CONFIGS / "grafana"
FILE: Final = GRAFANA / "dashboards" / "otel-realtime.json"
#: Grafana's own variables: the time range, and what it takes for ``rate()``.
RANGE: Final = {"__rate_interval": "5m", "__range": "10m"}


@dataclass(frozen=True)
class Query:
    """One query of a panel.

    Attributes:
        panel: the panel's title.
        legend: what its series are called.
        written: the expression as it stands in the file.
        sent: the same with every variable replaced, those that choose by "all".
    """

    panel: str
    legend: str
    written: str
    sent: str


def dashboard() -> dict[str, Any]:
    """The dashboard's JSON."""
    loaded: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return loaded


def variables() -> dict[str, dict[str, Any]]:
    """Its template variables by name."""
    return {one["name"]: one for one in dashboard()["templating"]["list"]}


def values() -> dict[str, str]:
    """What stands for each variable when nobody has chosen anything."""
    own = {
        name: one["query"] if one["type"] == "textbox" else one.get("allValue", "")
        for name, one in variables().items()
    }
    return own | RANGE


def choices() -> dict[str, tuple[str, str]]:
    """Metric, with variables replaced, and label that each choosing variable takes its values from."""
    found = {}
    for name, one in variables().items():
        if one["type"] == "query":
            match = re.fullmatch(r"label_values\((.*),\s*(\w+)\)", one["query"]["query"])
            assert match, one
            found[name] = filled(match.group(1)), match.group(2)
    return found


def filled(expr: str, **chosen: str) -> str:
    """An expression with every variable replaced, by what was chosen or by its default."""
    for name, value in sorted((values() | chosen).items(), key=lambda one: -len(one[0])):
        expr = expr.replace(f"${name}", value)
    return expr


def queries() -> Iterator[Query]:
    """Every query of every panel."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            expr = target["expr"]
            yield Query(panel["title"], target["legendFormat"], expr, filled(expr))
