"""Rules, alerts and dashboard before the real Prometheus, which scrapes real calls; and their files."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import yaml

from otel_realtime import attributes
from otel_realtime.tracing.metrics import Instruments
from tests.platform.dashboard import Query, choices, filled, queries
from tests.platform.names import unknown
from tests.platform.prometheus_build import PROMTOOL
from tests.platform.promql import used
from tests.platform.watched import SHIPPED, Watched, watched
from tests.support.processes import CONFIGS, clean_environment
from tests.support.programs import program
from tests.support.prometheus_names import COLLECTOR, METRICS, known_series
from tests.support.waiting import wait_for

FOLDER: Final = SHIPPED.parent
RULES: Final = [
    rule
    for file in sorted((FOLDER / "rules").glob("*.yml"))
    for group in yaml.safe_load(file.read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
RECORDED: Final = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
ALERTS: Final = {rule["alert"]: rule for rule in RULES if "alert" in rule}
CASES: Final = FOLDER / "tests" / "alerts.test.yml"
PAGE: Final = (CONFIGS / "README.md").read_text("utf-8")


def known() -> dict[str, frozenset[str]]:
    """Labels of every series by name: of the scraped ones, and of those that rules record."""
    recorded = {name: frozenset(used(expr).groupings) for name, expr in RECORDED.items()}
    return known_series() | recorded


# -- the files ------------------------------------------------------------------------------------


class Made:
    """A meter provider that keeps what is asked of it: name, unit and kind of each instrument."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[str, str]] = {}

    def get_meter(self, *_: object) -> Made:
        """Be the meter."""
        return self

    def __getattr__(self, name: str) -> Any:
        kinds = {
            "create_histogram": "histogram",
            "create_counter": "counter",
            "create_observable_counter": "counter",
            "create_up_down_counter": "gauge",
            "create_observable_up_down_counter": "gauge",
        }
        kind = kinds[name]

        def create(metric: str, unit: str, **_: object) -> object:
            self.found[metric] = unit, kind
            return object()

        return create


def test_the_names_are_those_of_the_instruments() -> None:
    """With underscores, and the unit's name where it has one."""
    made = Made()
    Instruments(made, int)  # type: ignore[arg-type]
    suffixes = {"s": "_seconds", "By": "_bytes"}
    names = {
        metric.replace(".", "_") + suffixes.get(unit, ""): kind
        for metric, (unit, kind) in made.found.items()
    }
    assert {name: kind for name, (kind, _) in METRICS.items()} == names
    assert made.found.keys() == {
        value for name, value in vars(attributes).items() if name.startswith("METRIC_")
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("record") or rule["alert"])
def test_a_rule_names_only_what_exists(rule: dict[str, Any]) -> None:
    """Metrics that are scraped or recorded, and labels that they have."""
    assert set() == unknown(rule["expr"], known())


def test_what_is_recorded_is_named_after_its_labels() -> None:
    """As Prometheus advises: level, metric, operation."""
    for name, expr in RECORDED.items():
        level, metric, operation = name.split(":")
        assert operation
        assert {level.split("_")[0]} <= used(expr).groupings
        assert any(metric in selected or "queue" in metric for selected, _ in used(expr).selectors)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_is_and_what_to_do(name: str) -> None:
    """How long it must last, how bad it is, and three sentences."""
    alert = ALERTS[name]
    assert re.fullmatch(r"\d+m", alert["for"])
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert {"summary", "description", "runbook"} == alert["annotations"].keys()
    assert all(text.strip() for text in alert["annotations"].values())
    shown = set(re.findall(r"\$labels\.(\w+)", str(alert["annotations"])))
    assert shown <= _labels(alert["expr"]) | {"instance", "job"}


def _labels(expr: str) -> set[str]:
    found = used(expr)
    return found.groupings | {label for name, _ in found.selectors for label in known()[name]}


def test_the_page_lists_every_alert() -> None:
    """With its severity and how long it must last."""
    rows = re.findall(r"^\| `(Otel\w+)` \| (\w+) \| (\w+) \|", PAGE, re.MULTILINE)
    expected = [(name, each["labels"]["severity"], each["for"]) for name, each in ALERTS.items()]
    assert expected == [
        (name, severity, "0m" if after == "once" else after) for name, severity, after in rows
    ]


def test_the_page_lists_every_metric() -> None:
    """Under the name the app gives it and the one Prometheus has."""
    rows = dict(
        re.findall(r"^\| `((?:otel_realtime|gen_ai)\.[\w.]+)` \| `(\w+)` \|", PAGE, re.MULTILINE)
    )
    names = {value for name, value in vars(attributes).items() if name.startswith("METRIC_")}
    assert names == rows.keys()
    totals = {name + ("_total" if kind == "counter" else "") for name, (kind, _) in METRICS.items()}
    assert totals == set(rows.values())


def test_prometheus_scrapes_the_collector_of_compose() -> None:
    """Both of its endpoints, with the process's own job and instance, and the rules beside it."""
    config = yaml.safe_load(SHIPPED.read_text("utf-8"))
    found = {
        job["job_name"]: (job["static_configs"][0]["targets"], job.get("honor_labels", False))
        for job in config["scrape_configs"]
    }
    assert {
        "otel-realtime": (["otelcol:8889"], True),
        "otelcol": (["otelcol:8888"], False),
    } == found
    assert sorted(FOLDER.glob(config["rule_files"][0])) == sorted((FOLDER / "rules").iterdir())
    assert f'job=~"{"|".join(sorted(found, reverse=True))}"' in ALERTS["OtelCollectorDown"]["expr"]


# -- promtool --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def promtool() -> Path:
    """Prometheus' own tool; the test is skipped (in CI: fails) where there is none."""
    return program(PROMTOOL)


def ran(promtool: Path, *arguments: str | Path) -> tuple[int, str]:
    """Exit status and output."""
    done = subprocess.run(
        [promtool, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.platform
def test_promtool_accepts_the_files(promtool: Path) -> None:
    """The scrape config and the rules, with every lint."""
    assert (0, True) == _passed(ran(promtool, "check", "config", "--lint=all", SHIPPED))
    files = sorted((FOLDER / "rules").glob("*.yml"))
    assert (0, True) == _passed(ran(promtool, "check", "rules", "--lint=all", *files))


def _passed(result: tuple[int, str]) -> tuple[int, bool]:
    status, said = result
    assert status == 0, said
    return status, "SUCCESS" in said


@pytest.mark.platform
def test_the_cases_of_the_alerts_hold(promtool: Path) -> None:
    """Each fires where it should and only there."""
    assert (0, True) == _passed(ran(promtool, "test", "rules", CASES))


@pytest.mark.platform
@pytest.mark.parametrize("name", ALERTS)
@pytest.mark.parametrize("how", ["never", "always"])
def test_an_alert_that_is_wrong_fails_a_case(
    promtool: Path, tmp_path: Path, name: str, how: str
) -> None:
    """One that never fires, and one that does not look at what it compares."""
    folder = tmp_path / "prometheus"
    shutil.copytree(FOLDER, folder)
    file = folder / "rules" / "alerts.yml"
    rules = yaml.safe_load(file.read_text("utf-8"))
    (rule,) = (
        rule for group in rules["groups"] for rule in group["rules"] if rule.get("alert") == name
    )
    expr = rule["expr"]
    rule["expr"] = (
        f"({expr}) and on () vector(0) > 0"
        if how == "never"
        else re.sub(r"(>=?|==) [\d.e]+", ">= 0", expr)
    )
    assert expr != rule["expr"]
    file.write_text(yaml.safe_dump(rules))
    status, said = ran(promtool, "test", "rules", folder / "tests" / CASES.name)
    assert 1 == status, said


# -- the real thing --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Calls of every kind that Prometheus has seen."""
    with watched(tmp_path_factory.mktemp("watched")) as found:
        seen = "sum(increase(otel_realtime_conversation_duration_seconds_count[5m])) > 3"
        wait_for(lambda: bool(found.prometheus.query(seen)), "the calls", timeout_s=30)
        yield found


@pytest.mark.platform
@pytest.mark.parametrize(
    "query", list(queries()), ids=lambda query: f"{query.panel}-{query.legend}"
)
def test_every_query_of_the_dashboard_has_data(platform: Watched, query: Query) -> None:
    """Series with the labels that its legend names, and a number."""

    def numbers() -> list[float]:
        found = (float(one["value"][1]) for one in platform.prometheus.query(query.sent))
        return [number for number in found if not math.isnan(number)]

    wait_for(lambda: bool(numbers()), f"data for {query}", timeout_s=10)
    series = platform.prometheus.query(query.sent)
    named = set(re.findall(r"{{(\w+)}}", query.legend)) - {"error_type"}
    assert all(named <= one["metric"].keys() for one in series)


@pytest.mark.platform
def test_the_variables_offer_what_the_calls_had(platform: Watched) -> None:
    """The service, and each model, transcribers too."""
    offered = {
        name: set(platform.prometheus.get(f"label/{label}/values", **{"match[]": metric}))
        for name, (metric, label) in choices().items()
    }
    models = {"gpt-realtime", "gpt-4o-mini-transcribe"}
    assert ({"voice"}, models) == (offered["service"] & {"voice"}, offered["model"])


@pytest.mark.platform
@pytest.mark.parametrize("name", RECORDED)
def test_every_recording_rule_records(platform: Watched, name: str) -> None:
    """On what the calls left."""
    wait_for(lambda: bool(platform.prometheus.query(name)), name, timeout_s=10)


@pytest.mark.platform
def test_the_numbers_are_those_of_the_calls(platform: Watched) -> None:
    """Also what a process measured before its first scrape."""
    asked = platform.prometheus.value
    counted = {
        'job_outcome:otel_realtime_conversation_duration_seconds_count:increase10m{outcome="ok"}': 3,
        'job_outcome:otel_realtime_conversation_duration_seconds_count:increase10m{outcome="error"}': 1,
        'job_outcome:otel_realtime_recording_uploads:increase10m{outcome="attached"}': 3,
        'job_error:otel_realtime_errors:increase10m{error_type="response_cancel_not_active"}': 2,
        'job_error:otel_realtime_errors:increase10m{error_type="invalid_value"}': 1,
        'sum(job_model_error:gen_ai_client_operation_duration_seconds_count:increase10m{error_type!=""})': 1,
        "job:otel_realtime_conversations_active:sum": 0,
    }
    assert counted == {expr: round(asked(expr)) for expr in counted}


@pytest.mark.platform
def test_alerts_fire_for_what_went_wrong_and_nothing_else(platform: Watched) -> None:
    """Spans beyond the limit, and a Collector that gives spans up; both from their first one on."""
    expected = {"OtelRealtimeSpanLimit", "OtelCollectorSpansLost"}
    wait_for(lambda: platform.prometheus.firing() >= expected, "alerts", timeout_s=10)
    assert expected == platform.prometheus.firing()
    groups = platform.prometheus.get("rules")["groups"]
    health = {rule["health"] for group in groups for rule in group["rules"]}
    assert {"ok"} == health


@pytest.mark.platform
@pytest.mark.parametrize("name", COLLECTOR)
def test_the_collector_has_the_metrics_of_the_list(platform: Watched, name: str) -> None:
    """With these labels, from the one that works or the one that does not."""
    series = platform.prometheus.query(f'{{__name__=~"{name}(_total)?"}}')
    assert series
    for one in series:
        assert COLLECTOR[name] <= one["metric"].keys()


@pytest.mark.platform
@pytest.mark.parametrize(
    "metric", [name for name, (kind, _) in METRICS.items() if kind == "histogram"]
)
def test_exemplars_lead_from_every_histogram_to_the_call(platform: Watched, metric: str) -> None:
    """Their trace ids are those of the conversations, which Jaeger has."""
    now = time.time()
    found = platform.prometheus.get(
        "query_exemplars", query=f"{metric}_bucket", start=now - 600, end=now
    )
    traces = {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}
    assert traces
    assert traces <= platform.traces
    for trace_id in traces:
        roots = [span for span in platform.jaeger.spans(trace_id) if not span["references"]]
        assert [attributes.ROOT_NAME] == [span["operationName"] for span in roots]


@pytest.mark.platform
def test_the_panels_find_exemplars(platform: Watched) -> None:
    """Grafana asks for them with the panel's own query."""
    now = time.time()
    for query in queries():
        if "histogram_quantile" in query.sent and "otel_realtime_voice_to_voice" in query.sent:
            found = platform.prometheus.get(
                "query_exemplars", query=query.sent, start=now - 600, end=now
            )
            assert {"trace_id", "span_id"} == found[0]["exemplars"][0]["labels"].keys()


@pytest.mark.platform
def test_one_run_of_the_demo_fills_the_dashboard(platform: Watched, tmp_path: Path) -> None:
    """`otel-realtime demo --langsmith`: every panel but those of failures; exemplars lead to its call."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "otel_realtime", "demo", "--fast", "--langsmith"),
            *("--no-browser", "--data-dir", str(tmp_path)),
        ],
        env=clean_environment(**{**platform.variables, "OTEL_SERVICE_NAME": "demo"}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert 0 == done.returncode, done.stderr
    (root,) = re.findall(r"run [0-9-]+-([0-9a-f]{4}-[0-9a-f]{12})", done.stdout)
    asked, now = platform.prometheus, time.time()
    selector = 'otel_realtime_voice_to_voice_seconds_bucket{job="demo"}'
    wait_for(lambda: bool(asked.query(selector)), "the demo's metrics", timeout_s=10)
    found = asked.get("query_exemplars", query=selector, start=now - 600, end=time.time())
    spans = {one["labels"]["span_id"] for series in found for one in series["exemplars"]}
    assert {root.replace("-", "")} == spans
    empty = {
        query.panel
        for query in queries()
        if "$service" in query.written and not asked.query(filled(query.written, service="demo"))
    }
    assert empty <= {"Failed model calls", "Failed tool calls", "Telemetry lost"}


@pytest.mark.platform
def test_a_collector_that_is_gone_is_told(platform: Watched) -> None:
    """Last of all: the target is down, and the alert waits its two minutes."""
    platform.troubled.kill()
    with pytest.raises(requests.ConnectionError):
        requests.get(platform.troubled.own_metrics_url, timeout=1)

    def pending() -> set[tuple[str, str]]:
        alerts = platform.prometheus.get("alerts")["alerts"]
        return {(one["labels"]["alertname"], one["state"]) for one in alerts}

    wait_for(lambda: ("OtelCollectorDown", "pending") in pending(), "the alert", timeout_s=15)
