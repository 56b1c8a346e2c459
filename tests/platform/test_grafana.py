"""The dashboard as a file: Grafana's schema knows every key of it, and it asks only for what exists."""

from __future__ import annotations

import json
import re
import warnings
from itertools import combinations
from typing import Any

import pytest
import yaml

from tests.platform.dashboard import (
    FILE,
    GRAFANA,
    Query,
    choices,
    dashboard,
    queries,
    values,
    variables,
)
from tests.platform.names import unknown
from tests.platform.promql import used
from tests.support.prometheus_names import known_series

ALL = list(queries())
PANELS = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def by_schema(written: dict[str, Any]) -> dict[str, Any]:
    """The dashboard after it went through the types of Grafana's own SDK, which drop unknown keys."""
    pytest.importorskip("grafana_foundation_sdk", reason="needs Python 3.11 or newer")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it has a newer schema besides
        from grafana_foundation_sdk.models.dashboard import Dashboard

        register_default_plugins()
        loaded = Dashboard.from_json(json.loads(json.dumps(written)))
    found: dict[str, Any] = json.loads(JSONEncoder().encode(loaded))
    return found


def lost(written: Any, read: Any, where: str = "") -> list[str]:
    """Where a value is not as it was written; defaults that were added do not count."""
    if isinstance(written, dict) and isinstance(read, dict):
        return [
            place
            for key, value in written.items()
            for place in (
                lost(value, read[key], f"{where}.{key}") if key in read else [f"{where}.{key}"]
            )
        ]
    if isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        pairs = enumerate(zip(written, read, strict=True))
        return [place for at, (a, b) in pairs for place in lost(a, b, f"{where}[{at}]")]
    return [] if written == read else [where]


def test_grafana_knows_every_key_of_it() -> None:
    """Of the dashboard, its variables, panels, their options and queries: nothing is dropped."""
    assert [] == lost(dashboard(), by_schema(dashboard()))


@pytest.mark.parametrize("place", ["", "panels.1.options", "panels.1.targets.0", "templating"])
def test_a_key_that_grafana_does_not_know_is_noticed(place: str) -> None:
    """Wherever it stands."""
    written = dashboard()
    inner: Any = written
    for step in place.split(".") if place else ():
        inner = inner[int(step)] if step.isdigit() else inner[step]
    inner["colour"] = "red"
    assert [] != lost(written, by_schema(written))


def test_panels_have_their_own_place_and_say_what_they_show() -> None:
    """No two of them overlap, no two have one id or one title; each has a description and a unit."""
    places = [panel["gridPos"] for panel in dashboard()["panels"]]
    for a, b in combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, (a, b)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
    kinds = [(panel["title"], panel["type"]) for panel in PANELS]
    assert len(kinds) == len(set(kinds))
    for panel in PANELS:
        unit = panel["fieldConfig"]["defaults"].get("unit") or panel["options"]["yAxis"]["unit"]
        assert unit
        assert panel["description"], panel["title"]
        assert len(panel["targets"]) == len({target["refId"] for target in panel["targets"]})


@pytest.mark.parametrize("query", ALL, ids=lambda query: f"{query.panel}-{query.legend}")
def test_a_query_names_only_what_exists(query: Query) -> None:
    """Every metric is one of the product's or of the Collector's, and every label one it has."""
    assert set() == unknown(query.sent, known_series())


@pytest.mark.parametrize(
    ("expr", "missing"),
    [
        ("sum(rate(otel_realtime_error_total[1m]))", {"otel_realtime_error_total"}),
        ("sum by (error) (otel_realtime_errors_total)", {"error"}),
        ('otel_realtime_errors_total{kind="x"}', {"otel_realtime_errors_total{kind}"}),
        ('{__name__=~"otelcol_lost(_total)?"} > 0', {"otelcol_lost"}),
        ("a / on (x) group_left (y) up", {"a", "x", "y"}),
    ],
)
def test_what_does_not_exist_is_noticed(expr: str, missing: set[str]) -> None:
    """A metric, a label to group by, a label to choose by, in each way to write them."""
    assert missing == unknown(expr, known_series())


@pytest.mark.parametrize("query", ALL, ids=lambda query: f"{query.panel}-{query.legend}")
def test_a_legend_names_labels_that_the_result_has(query: Query) -> None:
    """Those that the query groups by."""
    assert set(re.findall(r"{{(\w+)}}", query.legend)) <= used(query.sent).groupings | {"le"}


def test_every_variable_is_there_and_used() -> None:
    """Service, model and prices choose in queries; the data source is a variable everywhere."""
    text = FILE.read_text("utf-8")
    named = set(re.findall(r"\$(?:{)?(\w+)", text))
    assert named == values().keys() | {"__all"}
    assert {"service", "model", "datasource"} <= variables().keys()
    sources = {item["datasource"]["uid"] for panel in PANELS for item in (panel, *panel["targets"])}
    assert {"${datasource}"} == sources


def test_variables_choose_from_labels_that_exist() -> None:
    """Of metrics that are there as soon as a call is."""
    assert {"service", "model"} == choices().keys()
    for metric, label in choices().values():
        assert set() == unknown(f"count by ({label}) ({metric})", known_series())


def test_calls_are_chosen_by_service_and_model() -> None:
    """Every query of the product's metrics has the service, and the model where they have one."""
    known = known_series()
    for query in ALL:
        for name, labels in used(query.sent).selectors:
            if name.startswith(("otel_realtime", "gen_ai")):
                wanted = {"job"} | ({"gen_ai_request_model"} & known[name])
                assert wanted <= labels, (query.panel, name)


def test_prices_are_those_of_the_page() -> None:
    """Of gpt-realtime, as the sandbox has them; they are numbers that a team edits."""
    prices = {name: float(one["query"]) for name, one in variables().items() if "price_" in name}
    source = (FILE.parents[3] / "otel_realtime/sandbox/web/src/cost.ts").read_text("utf-8")
    listed = re.findall(r'"gpt-realtime": prices\(([^)]*)\)', source)[0].split(", ")
    text, cached, audio, _, image, _, text_out, audio_out = map(float, listed)
    assert {
        "price_text_in": text,
        "price_cached_in": cached,
        "price_audio_in": audio,
        "price_image_in": image,
        "price_text_out": text_out,
        "price_audio_out": audio_out,
    } == prices


@pytest.mark.parametrize("query", [one for one in ALL if "histogram_quantile" in one.sent])
def test_latencies_show_exemplars(query: Query) -> None:
    """But where a single number stands."""
    (target,) = (
        target
        for panel in PANELS
        for target in panel["targets"]
        if (panel["title"], target["expr"], target["legendFormat"])
        == (query.panel, query.written, query.legend)
    )
    assert target["exemplar"] is not target["instant"]


def test_what_provisions_grafana_agrees_with_the_rest() -> None:
    """An exemplar's trace id opens in the Jaeger that is provisioned beside Prometheus."""
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/otel-realtime.yml").read_text())
    prometheus, jaeger = sources["datasources"]
    assert ("prometheus", "jaeger") == (prometheus["type"], jaeger["type"])
    (link,) = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    assert ("trace_id", jaeger["uid"]) == (link["name"], link["datasourceUid"])
    scrape = yaml.safe_load((GRAFANA.parent / "prometheus/prometheus.yml").read_text())
    assert scrape["global"]["scrape_interval"] == prometheus["jsonData"]["timeInterval"]
    boards = yaml.safe_load((GRAFANA / "provisioning/dashboards/otel-realtime.yml").read_text())
    assert ["/etc/grafana/dashboards"] == [each["options"]["path"] for each in boards["providers"]]
