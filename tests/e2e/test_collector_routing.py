"""The example overlays: a project per app, a workspace per tenant, no content in Jaeger; and all of them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import yaml

from otel_realtime import attributes as names
from tests.e2e.conftest import StartCollector
from tests.support.handmade import conversation, send_http
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import CONFIGS, Jaeger, tags

EXAMPLES = (
    "config.jaeger.yaml",
    "config.metrics.yaml",
    *(f"examples/{name}.yaml" for name in ("jaeger-no-content", "projects", "tenants")),
)
#: What may stand behind ``config.yaml``, in any order.
OVERLAYS = (
    *EXAMPLES,
    *sorted(f"backends/{path.name}" for path in (CONFIGS / "backends").glob("*.yaml")),
)


def merged(*files: str) -> dict[str, Any]:
    """What the Collector makes of several configs: maps are joined, anything else is replaced."""
    whole: dict[str, Any] = {}
    for file in files:
        _join(whole, yaml.safe_load((CONFIGS / file).read_text()))
    return whole


def _join(into: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _join(into[key], value)
        else:
            into[key] = value


def test_no_overlay_takes_anything_from_another() -> None:
    """Behind ``config.yaml`` any two make the same in either order, so any number does in any order."""
    for one, other in itertools.combinations(OVERLAYS, 2):
        assert merged("config.yaml", one, other) == merged("config.yaml", other, one), (one, other)


def test_the_key_of_a_tenant_and_the_project_of_an_app_hold_together() -> None:
    """Whatever way a span takes to LangSmith, its project is set on it."""
    pipelines = merged("config.yaml", *OVERLAYS)["service"]["pipelines"]
    ways = [
        name for name in pipelines if name in {"traces/langsmith", "traces/acme", "traces/globex"}
    ]
    assert 3 == len(ways)
    assert ["transform/project"] * 3 == [pipelines[name]["processors"][-1] for name in ways]


@pytest.mark.collector
@pytest.mark.parametrize("reverse", [False, True])
def test_all_examples_at_once(
    start_collector: StartCollector, langsmith: OtlpRecorder, jaeger: Jaeger, reverse: bool
) -> None:
    """Key by tenant, project by app, content out of Jaeger: in either order of the configs."""
    collector = start_collector(
        "config.yaml",
        *(reversed(EXAMPLES) if reverse else EXAMPLES),
        LANGSMITH_API_KEY="lsv2_pt_common",
        ACME_LANGSMITH_API_KEY="lsv2_pt_acme",
        GLOBEX_LANGSMITH_API_KEY="lsv2_pt_globex",
        LANGSMITH_OTLP_ENDPOINT=langsmith.endpoint,
        JAEGER_OTLP_ENDPOINT=jaeger.otlp,
    )
    keys = {"acme": "lsv2_pt_acme", "globex": "lsv2_pt_globex", "": "lsv2_pt_common"}
    expected = {}
    for (tenant, key), project in itertools.product(keys.items(), ("support-line", None)):
        resource = {"tenant": tenant} if tenant else {}
        trace = conversation(
            resource=resource | ({"langsmith.project": project} if project else {})
        )
        assert send_http(collector.http, trace)
        expected[trace.trace_id] = [(key, project)] * 5
    langsmith.wait(5 * len(expected))
    found: dict[str, list[tuple[str, Any]]] = {}
    for request in langsmith.requests:
        for span in request.spans:
            way = (request.headers["x-api-key"], span.attributes.get(names.LS_PROJECT))
            found.setdefault(span.trace_id, []).append(way)
    assert expected == found
    for trace_id in expected:
        shown = json.dumps([tags(span) for span in jaeger.wait(trace_id, 5)])
        assert "hello" not in shown


@pytest.mark.collector
def test_a_resource_attribute_chooses_the_project(
    start_collector: StartCollector, langsmith: OtlpRecorder
) -> None:
    """All spans of an app that names its project go there, those of another to the default."""
    collector = start_collector(
        "config.yaml",
        "examples/projects.yaml",
        LANGSMITH_API_KEY="lsv2_pt_test",
        LANGSMITH_OTLP_ENDPOINT=langsmith.endpoint,
    )
    support = conversation(resource={"langsmith.project": "support-line"})
    other = conversation()
    assert send_http(collector.http, support)
    assert send_http(collector.http, other)
    found = [(span.trace_id, span.attributes.get(names.LS_PROJECT)) for span in langsmith.wait(10)]
    expected = [(support.trace_id, "support-line")] * 5 + [(other.trace_id, None)] * 5
    assert sorted(expected, key=repr) == sorted(found, key=repr)


@pytest.mark.collector
def test_a_resource_attribute_chooses_the_tenants_workspace(
    start_collector: StartCollector, langsmith: OtlpRecorder
) -> None:
    """Each tenant's spans go out once and with its own key; the rest with the common one."""
    collector = start_collector(
        "config.yaml",
        "examples/tenants.yaml",
        LANGSMITH_API_KEY="lsv2_pt_common",
        ACME_LANGSMITH_API_KEY="lsv2_pt_acme",
        ACME_LANGSMITH_PROJECT="acme-calls",
        GLOBEX_LANGSMITH_API_KEY="lsv2_pt_globex",
        LANGSMITH_OTLP_ENDPOINT=langsmith.endpoint,
    )
    keys = {"acme": "lsv2_pt_acme", "globex": "lsv2_pt_globex", "": "lsv2_pt_common"}
    expected = {}
    for tenant, key in keys.items():
        trace = conversation(resource={"tenant": tenant} if tenant else {})
        assert send_http(collector.http, trace)
        expected[trace.trace_id] = (key, {"acme": "acme-calls"}.get(tenant, "default"))
    langsmith.wait(15)

    found: dict[str, list[tuple[str, str]]] = {}
    for request in langsmith.requests:
        way = (request.headers["x-api-key"], request.headers["langsmith-project"])
        for span in request.spans:
            found.setdefault(span.trace_id, []).append(way)
    assert {trace_id: [way] * 5 for trace_id, way in expected.items()} == found


@pytest.mark.collector
def test_content_can_be_kept_out_of_jaeger_alone(
    start_collector: StartCollector, langsmith: OtlpRecorder, jaeger: Jaeger
) -> None:
    """With the overlay LangSmith has what was said and Jaeger only the rest."""
    collector = start_collector(
        "config.yaml",
        "config.jaeger.yaml",
        "examples/jaeger-no-content.yaml",
        LANGSMITH_API_KEY="lsv2_pt_test",
        LANGSMITH_OTLP_ENDPOINT=langsmith.endpoint,
        JAEGER_OTLP_ENDPOINT=jaeger.otlp,
    )
    trace = conversation()
    assert send_http(collector.http, trace)
    shown = [tags(span) for span in jaeger.wait(trace.trace_id, 5)]
    assert "hello" not in json.dumps(shown)
    assert [tag[names.REQUEST_MODEL] for tag in shown if names.OPERATION in tag] == ["gpt-realtime"]
    assert "hello" in repr(langsmith.wait(5))
