"""The example overlays: a project per app, a workspace per tenant, no content in Jaeger."""

from __future__ import annotations

import json

import pytest

from otel_realtime import attributes as names
from tests.e2e.conftest import StartCollector
from tests.support.handmade import conversation, send_http
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import Jaeger, tags

pytestmark = pytest.mark.collector


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
