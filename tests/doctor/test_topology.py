"""Who delivers what, in each topology of the README; and it is what a real conversation decides."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_realtime.doctor.topology import Topology
from otel_realtime.langsmith.route import choose_route
from otel_realtime.process.process import PROCESS
from otel_realtime.settings import Settings
from tests.support.doctor import by_id, here

KEY = {"LANGSMITH_TRACING": "true", "LANGSMITH_API_KEY": "lsv2_pt_x"}
OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
CLOUD = "LangSmith (https://api.smith.langchain.com, project default)"
TRACES = "http://127.0.0.1:4318/v1/traces"


def topology(process: pytest.MonkeyPatch, *variables: dict[str, str]) -> Topology:
    """What is decided with these variables."""
    for one in variables:
        for name, value in one.items():
            process.setenv(name, value)
    return Topology(here())


@pytest.mark.parametrize(
    ("variables", "rows", "verdict"),
    [
        pytest.param(
            KEY,
            {
                "root run": ("this process, runs API", CLOUD),
                "spans to LangSmith": ("this process, OTLP", CLOUD),
                "root and all spans": ("nobody", "-"),
                "recording": ("this process", CLOUD),
                "metrics": ("nobody", "-"),
            },
            f"A call started here would be traced and recorded, sent to {CLOUD}.",
            id="direct",
        ),
        pytest.param(
            KEY | OTLP,
            {
                "root run": ("this process, runs API", CLOUD),
                "spans to LangSmith": ("this process, OTLP", CLOUD),
                "root and all spans": ("the app's exporters", TRACES),
                "recording": ("this process", CLOUD),
                "metrics": ("the app's MeterProvider", "http://127.0.0.1:4318"),
            },
            f"A call started here would be traced and recorded, sent to {CLOUD} and to {TRACES}.",
            id="both",
        ),
        pytest.param(
            KEY | OTLP | {"OTEL_REALTIME_LANGSMITH": "collector"},
            {
                "root run": ("this process, runs API", CLOUD),
                "spans to LangSmith": ("whoever forwards them (leg collector)", "if it has a key"),
                "root and all spans": ("the app's exporters", TRACES),
                "recording": ("this process", CLOUD),
                "metrics": ("the app's MeterProvider", "http://127.0.0.1:4318"),
            },
            f"A call started here would be traced and recorded, sent to {CLOUD} and to {TRACES}.",
            id="collector-and-key",
        ),
        pytest.param(
            OTLP,
            {
                "root and spans to LangSmith": (
                    "whoever forwards them (leg collector)",
                    "if it has a key",
                ),
                "root and all spans": ("the app's exporters", TRACES),
                "recording": ("nobody", "-"),
                "metrics": ("the app's MeterProvider", "http://127.0.0.1:4318"),
            },
            f"A call started here would be traced, not recorded, sent to {TRACES}.",
            id="no-key",
        ),
        pytest.param(
            OTLP | {"OTEL_REALTIME_LANGSMITH": "off", "OTEL_REALTIME_RECORDINGS_DIR": "/kept"},
            {
                "root and all spans": ("the app's exporters", TRACES),
                "recording": ("this process", "/kept"),
                "metrics": ("the app's MeterProvider", "http://127.0.0.1:4318"),
            },
            f"A call started here would be traced and recorded, sent to {TRACES}, kept in /kept.",
            id="no-langsmith",
        ),
        pytest.param(
            {},
            {
                "root and spans to LangSmith": ("nobody", "-"),
                "root and all spans": ("nobody", "-"),
                "recording": ("nobody", "-"),
                "metrics": ("nobody", "-"),
            },
            "A call started here would be traced, and sent nowhere.",
            id="nothing",
        ),
    ],
)
def test_each_topology(
    process: pytest.MonkeyPatch,
    variables: dict[str, str],
    rows: dict[str, tuple[str, str]],
    verdict: str,
) -> None:
    """The table, and the sentence; the leg is the one that a conversation gets."""
    found = topology(process, variables)
    assert rows == {row.what: (row.by, row.to) for row in found.deliveries()}
    assert verdict == found.verdict([])
    route = choose_route(Settings(), None, PROCESS)
    assert (route.leg, route.delivers_root) == (found.choice.leg, found.choice.root_by_runs_api)


def test_content_that_is_hidden_is_not_recorded(process: pytest.MonkeyPatch) -> None:
    """Nothing of a conversation's sound may stay."""
    found = topology(process, KEY, {"LANGSMITH_HIDE_INPUTS": "true"})
    assert [] == found.recorded_to
    assert "none is made: content is hidden" == by_id(found.results())["delivery.recording"].seen


def test_langsmith_that_was_asked_for_without_a_key_fails(process: pytest.MonkeyPatch) -> None:
    """In the words of the warning that an app would have."""
    found = by_id(topology(process, {"LANGSMITH_TRACING": "true"}).results())
    assert "fail" == found["delivery.langsmith"].status
    assert "no API key is set" in found["delivery.langsmith"].seen


def test_a_key_alone_asks_for_nothing(process: pytest.MonkeyPatch) -> None:
    """Many forget the other variable; whoever says no is not asked."""
    found = by_id(topology(process, {"LANGSMITH_API_KEY": "x"}).results())
    assert "LANGSMITH_TRACING=true" in found["delivery.langsmith"].fix
    found = by_id(topology(process, {"LANGSMITH_TRACING": "false"}).results())
    assert "delivery.langsmith" not in found


def test_a_value_that_does_not_parse_is_said_elsewhere(process: pytest.MonkeyPatch) -> None:
    """Once, with the variable it is of."""
    found = topology(process, {"LANGSMITH_TRACING": "treu"})
    assert "delivery.langsmith" not in by_id(found.results())


def test_an_exporter_to_langsmith_takes_the_recording(process: pytest.MonkeyPatch) -> None:
    """Where nobody could drop the second root, it delivers all, and it is said what to change."""
    cloud = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://api.smith.langchain.com/otel"}
    found = topology(
        process, cloud, {"LANGSMITH_API_KEY": "x", "OTEL_REALTIME_LANGSMITH": "collector"}
    )
    assert "warn" == by_id(found.results())["delivery.langsmith"].status
    assert not found.choice.root_by_runs_api


def test_our_own_delivery_leaves_out_an_exporter_to_langsmith(process: pytest.MonkeyPatch) -> None:
    """As ``configure()`` does."""
    cloud = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://api.smith.langchain.com/otel"}
    found = topology(process, KEY, cloud)
    assert ([], True) == (found.others, found.choice.root_by_runs_api)


def test_a_sampling_rate_does_not_make_the_answer_random(process: pytest.MonkeyPatch) -> None:
    """The share is said."""
    found = topology(process, KEY, {"LANGSMITH_TRACING_SAMPLING_RATE": "0.001"})
    assert found.choice.root_by_runs_api
    assert "0% of the conversations" in by_id(found.results())["delivery.sampling"].effect


def test_an_unknown_exporter_is_the_end_of_it(process: pytest.MonkeyPatch) -> None:
    """``configure()`` raises, and sets nothing up."""
    found = topology(process, {"OTEL_TRACES_EXPORTER": "pigeon"})
    assert found.verdict([]).startswith("A call started here would not be traced: OTEL_TRACES_EXP")
    assert ["everything"] == [row.what for row in found.deliveries()]


def test_a_disabled_sdk_is_the_end_of_it(process: pytest.MonkeyPatch) -> None:
    """Nothing is traced."""
    found = topology(process, KEY, {"OTEL_SDK_DISABLED": "true"})
    expected = "A call started here would not be traced: OTEL_SDK_DISABLED is true."
    assert expected == found.verdict([])


def test_a_provider_that_is_set_is_looked_at(process: pytest.MonkeyPatch) -> None:
    """As under ``opentelemetry-instrument``."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    process.setattr(trace, "_TRACER_PROVIDER", provider)
    assert ["InMemorySpanExporter"] == topology(process).others


def test_what_would_be_lost_stands_in_the_sentence(process: pytest.MonkeyPatch) -> None:
    """By the titles of the checks."""
    found = topology(process, {"LANGSMITH_TRACING": "true"} | OTLP)
    failed = [one for one in found.results() if one.status == "fail"]
    assert found.verdict(failed).endswith("; but something would be lost: LangSmith.")


@pytest.mark.parametrize(
    ("sampler", "argument", "status", "seen"),
    [
        ("always_off", "", "fail", "it takes no call"),
        ("parentbased_always_off", "", "fail", "it takes no call"),
        ("parentbased_traceidratio", "0.25", "info", "it takes 25% of the calls"),
        ("traceidratio", "0", "fail", "it takes no call"),
    ],
)
def test_what_the_sampler_drops(
    process: pytest.MonkeyPatch, sampler: str, argument: str, status: str, seen: str
) -> None:
    """By the sampler's own decisions."""
    more = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    found = topology(process, KEY, more)
    result = by_id(found.results())["delivery.sampler"]
    assert (status, seen) == (result.status, result.seen)
    none = "A call started here would not be traced: the sampler takes none."
    assert (status == "fail") == (found.verdict([]) == none)


def test_a_sampler_that_takes_all_is_not_spoken_of(process: pytest.MonkeyPatch) -> None:
    """Nor is the default."""
    assert "delivery.sampler" not in by_id(topology(process, KEY).results())
    more = {"OTEL_TRACES_SAMPLER": "always_on"}
    assert "delivery.sampler" not in by_id(topology(process, KEY, more).results())


def test_a_sampler_that_the_sdk_does_not_know(process: pytest.MonkeyPatch) -> None:
    """In the SDK's own words."""
    found = topology(process, KEY, {"OTEL_TRACES_SAMPLER": "sometimes"})
    result = by_id(found.results())["delivery.provider"]
    assert ("warn", True) == (result.status, "sometimes" in result.seen)


def test_a_provider_that_cannot_be_made(process: pytest.MonkeyPatch) -> None:
    """It is an answer, and no traceback."""

    def fail(_: object) -> None:
        raise RuntimeError("no detector")

    process.setattr("otel_realtime.doctor.topology.tracer_provider", fail)
    found = topology(process, KEY)
    assert "no TracerProvider can be made: RuntimeError" in found.verdict([])
    assert "fail" == by_id(found.results())["delivery.provider"].status
