"""One real call at every other backend: what each is told, and what the real Phoenix makes of it.

Tempo and Langfuse cannot run here; what the Collector sends them is recorded instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from otel_realtime import attributes as names
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from tests.e2e.conftest import KEY, collector_binary
from tests.platform.binaries import PHOENIX
from tests.support import talking
from tests.support.grpc_recorder import GrpcRecorder
from tests.support.otlp_recorder import OtlpRecorder, Span
from tests.support.processes import CONFIGS, Collector, Process, clean_environment, free_ports
from tests.support.programs import program
from tests.support.readme import run, snippet
from tests.support.traces import ROOT as ROOT_NAME
from tests.support.voice_process import Traced, VoiceProcess, in_sandbox
from tests.support.waiting import wait_for

__all__ = ["collector_binary"]

BACKENDS = CONFIGS / "backends"
PAGES = sorted(BACKENDS.glob("*.md"))
#: Longest start of Phoenix, on a machine that has a lot to do.
START_S = 300


@dataclass(frozen=True)
class Copies:
    """One call whose process delivers to LangSmith itself, and every other place that it went to."""

    traced: Traced
    first: Sandbox
    second: Sandbox
    tempo: list[Span]
    tempo_headers: dict[str, str]
    langfuse: list[Span]
    langfuse_headers: dict[str, str]


@pytest.fixture(scope="module")
def copies(collector_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copies]:
    """A call through one Collector with three of the overlays."""
    folder = tmp_path_factory.mktemp("backends")
    with (
        Sandbox(folder / "first") as first,
        Sandbox(folder / "second") as second,
        OtlpRecorder(base="/api/public/otel", key="authorization") as langfuse,
        GrpcRecorder() as tempo,
        Collector(
            collector_binary,
            folder / "collector",
            [
                "config.yaml",
                *(f"backends/{name}.yaml" for name in ("tempo", "langfuse", "second-langsmith")),
            ],
            LANGSMITH_API_KEY=KEY,
            LANGSMITH_OTLP_ENDPOINT=f"{first.url}/otel",
            SECOND_LANGSMITH_API_KEY=KEY,
            SECOND_LANGSMITH_OTLP_ENDPOINT=f"{second.url}/otel",
            SECOND_LANGSMITH_PROJECT="copies",
            TEMPO_OTLP_ENDPOINT=tempo.endpoint,
            TEMPO_TENANT="team-a",
            LANGFUSE_AUTH="cGstbGY6c2stbGY=",
            LANGFUSE_HOST=langfuse.endpoint.removesuffix("/api/public/otel"),
        ) as collector,
    ):
        traced = a_call(folder / "app", collector, first)
        count = len(traced.spans)
        yield Copies(
            traced,
            first,
            second,
            tempo.wait(count),
            dict(tempo.requests[0].headers),
            langfuse.wait(count),
            dict(langfuse.requests[0].headers),
        )


def a_call(folder: Path, collector: Collector, langsmith: Sandbox, **env: str) -> Traced:
    """The weather call of an app with LangSmith's key, which exports to the Collector as well."""
    variables = {
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_ENDPOINT": langsmith.url,
        "LANGSMITH_API_KEY": KEY,
        "LANGSMITH_PROJECT": "calls",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    with (
        ScriptedServer(talking.WEATHER_CALL, speed=talking.SPEED) as server,
        VoiceProcess(folder, server.url, env=variables | env) as app,
    ):
        (traced,) = app.talked()
        report = app.flushed()
        assert (True, True, {}) == (report["exported"], report["delivered"], report["faults"])
    return traced


def one(spans: list[Span], name: str) -> dict[str, Any]:
    """The attributes of the last span of a name."""
    return dict([span for span in spans if span.name == name][-1].attributes)


def each_once(traced: Traced, spans: list[Span]) -> None:
    """Every span of the call is there once, where it belongs."""
    expected = sorted((span["id"], span["parent"] or "") for span in traced.spans.values())
    assert expected == sorted((span.span_id, span.parent_id) for span in spans)


# --- Tempo ----------------------------------------------------------------------------------------


@pytest.mark.collector
def test_tempo_gets_every_span_for_its_tenant(copies: Copies) -> None:
    """Each once, to be searched by its thread, with nothing that only LangSmith reads."""
    each_once(copies.traced, copies.tempo)
    assert "team-a" == copies.tempo_headers["x-scope-orgid"]
    assert {"caller-0"} == {span.attributes.get("otel_realtime.thread_id") for span in copies.tempo}
    keys = {key for span in copies.tempo for key in span.attributes}
    assert [] == [key for key in keys if key.startswith("langsmith.")]


@pytest.mark.collector
def test_what_the_queries_for_tempo_ask_for_is_on_the_spans(copies: Copies) -> None:
    """Every attribute and every name in them."""
    (queries,) = re.findall(r"```traceql\n(.*?)```", (BACKENDS / "tempo.md").read_text(), re.DOTALL)
    keys = {key for span in copies.tempo for key in span.attributes}
    asked = set(re.findall(r"span\.([\w.]+)", queries))
    assert asked
    assert set() == asked - keys
    found = {span.name for span in copies.tempo}
    for pattern in re.findall(r'name =~? "([^"]+)"', queries):
        assert [name for name in found if re.fullmatch(pattern, name)], pattern


# --- Langfuse -------------------------------------------------------------------------------------


@pytest.mark.collector
def test_langfuse_gets_every_span_at_its_address(copies: Copies) -> None:
    """Under its own path, with Basic authentication."""
    each_once(copies.traced, copies.langfuse)
    sent = copies.langfuse_headers
    assert ("Basic cGstbGY6c2stbGY=", "4") == (
        sent["authorization"],
        sent["x-langfuse-ingestion-version"],
    )


@pytest.mark.collector
def test_langfuse_is_told_of_the_trace_on_every_span(copies: Copies) -> None:
    """It does not wait for the root, which comes with the end of the call."""
    told = {
        (
            span.attributes.get("langfuse.session.id"),
            span.attributes.get("langfuse.trace.name"),
        )
        for span in copies.langfuse
    }
    assert {("caller-0", ROOT_NAME)} == told
    keys = {key for span in copies.langfuse for key in span.attributes}
    assert [] == [key for key in keys if key.startswith("langsmith.")]


@pytest.mark.collector
def test_langfuse_is_told_what_each_span_is(copies: Copies) -> None:
    """The root an agent, model calls generations, tools tools, events spans; with input and output."""
    kinds = {span.name: span.attributes["langfuse.observation.type"] for span in copies.langfuse}
    assert ("agent", "generation", "generation", "tool", "span") == (
        kinds[ROOT_NAME],
        kinds["chat gpt-realtime"],
        kinds[f"transcribe {talking.TRANSCRIBER}"],
        kinds["execute_tool lookup_weather"],
        kinds["response.done"],
    )
    root, call = one(copies.langfuse, ROOT_NAME), one(copies.langfuse, "chat gpt-realtime")
    assert "session" in json.loads(root["langfuse.observation.input"])
    assert json.loads(root["langfuse.observation.output"])["messages"]
    assert json.loads(call["langfuse.observation.input"])["messages"]
    assert json.loads(call["langfuse.observation.output"])["choices"]


@pytest.mark.collector
def test_langfuse_counts_each_token_once(copies: Copies) -> None:
    """The parts that it adds up are the totals of the convention."""
    calls = [span.attributes for span in copies.langfuse if span.name == "chat gpt-realtime"]
    assert calls
    for call in calls:
        usage = json.loads(call["langfuse.observation.usage_details"])
        total = usage.pop("total")
        read, written = call["gen_ai.usage.input_tokens"], call["gen_ai.usage.output_tokens"]
        sums = [
            sum(count for key, count in usage.items() if key.startswith(side))
            for side in ("input", "output")
        ]
        assert ([read, written], read + written) == (sums, total)
        assert {"input_audio_tokens", "input_cached_tokens", "output_audio_tokens"} <= usage.keys()


# --- a second LangSmith ---------------------------------------------------------------------------


@pytest.mark.collector
def test_a_conversation_is_in_both_workspaces_once(copies: Copies) -> None:
    """By the runs API with its recording in the first, by OTLP without one in the second."""
    ours = in_sandbox(copies.first, copies.traced, root_by="runs_api")
    assert (True, "calls") == (ours["has_recording"], ours["project"])
    copy = in_sandbox(copies.second, copies.traced, root_by="otlp")
    assert (False, "copies", "caller-0") == (
        copy["has_recording"],
        copy["project"],
        copy["thread_id"],
    )
    assert [] == [key for key in copy["root"]["metadata"] if key.startswith("ls_audio_")]
    assert names.Meta.ATTACH_STATUS in ours["root"]["metadata"]


@pytest.mark.collector
def test_a_nested_conversation_is_whole_in_the_second_workspace(
    collector_binary: Path, tmp_path: Path
) -> None:
    """The caller's span is not there: a root that named it as its parent would be dropped."""
    from tests.support.handmade import Maker, send_http

    with (
        OtlpRecorder() as second,
        Collector(
            collector_binary,
            tmp_path,
            ["config.yaml", "backends/second-langsmith.yaml", "config.jaeger-only.yaml"],
            SECOND_LANGSMITH_API_KEY=KEY,
            SECOND_LANGSMITH_OTLP_ENDPOINT=second.endpoint,
        ) as collector,
    ):
        maker = Maker(leg=names.LEG_DIRECT, root_by_runs_api=True)
        request = maker.root
        conversation = maker.span(names.ROOT_NAME)
        maker.unrelated("GET /calls")
        request.update_name("POST /calls")
        request.set_attribute(names.LEG, names.LEG_NONE)
        assert send_http(collector.http, maker.finish())
        (root,) = second.wait(1)
    assert (f"{conversation.get_span_context().span_id:016x}", "") == (root.span_id, root.parent_id)


# --- Phoenix --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Phoenix."""
    binary = program(PHOENIX)
    folder = tmp_path_factory.mktemp("phoenix")
    http, grpc = free_ports(2)
    running = Process(
        [binary, "serve"],
        folder / "phoenix.log",
        clean_environment(
            PHOENIX_HOST="127.0.0.1",
            PHOENIX_PORT=str(http),
            PHOENIX_GRPC_PORT=str(grpc),
            PHOENIX_WORKING_DIR=str(folder),
            PHOENIX_TELEMETRY_ENABLED="false",
        ),
    )
    url = f"http://127.0.0.1:{http}"
    running.launch(f"{url}/healthz", timeout_s=START_S)
    yield url
    running.stop()


@dataclass(frozen=True)
class InPhoenix:
    """A call as Phoenix has it."""

    url: str
    traced: Traced
    spans: list[dict[str, Any]]

    def named(self, name: str) -> dict[str, Any]:
        """The attributes of the first span of a name."""
        return dict(next(span for span in self.spans if span["name"] == name)["attributes"])


@pytest.fixture(scope="module")
def in_phoenix(
    phoenix: str, collector_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InPhoenix]:
    """A real call through the real Collector."""
    folder = tmp_path_factory.mktemp("call")
    with (
        Sandbox(folder / "langsmith") as langsmith,
        Collector(
            collector_binary,
            folder / "collector",
            ["config.yaml", "backends/phoenix.yaml"],
            LANGSMITH_API_KEY=KEY,
            LANGSMITH_OTLP_ENDPOINT=f"{langsmith.url}/otel",
            PHOENIX_COLLECTOR_ENDPOINT=phoenix,
        ) as collector,
    ):
        traced = a_call(folder / "app", collector, langsmith)
        found: list[dict[str, Any]] = []

        def all_there() -> bool:
            answer = requests.get(
                f"{phoenix}/v1/projects/default/spans",
                params={"limit": "1000", "trace_id": traced.trace_id},
                timeout=10,
            )
            found[:] = answer.json()["data"] if answer.ok else []
            return len(found) >= len(traced.spans)

        wait_for(all_there, "the call in Phoenix", timeout_s=60, every_s=0.5)
        yield InPhoenix(phoenix, traced, found)


@pytest.mark.platform
@pytest.mark.timeout(2 * START_S)
def test_phoenix_has_every_span_once(in_phoenix: InPhoenix) -> None:
    """Where it belongs."""
    expected = sorted((span["id"], span["parent"]) for span in in_phoenix.traced.spans.values())
    assert expected == sorted(
        (span["context"]["span_id"], span["parent_id"]) for span in in_phoenix.spans
    )


@pytest.mark.platform
@pytest.mark.timeout(2 * START_S)
def test_phoenix_knows_what_each_span_is(in_phoenix: InPhoenix) -> None:
    """None is of an unknown kind."""
    kinds = {span["name"]: span["span_kind"] for span in in_phoenix.spans}
    assert ("AGENT", "LLM", "LLM", "TOOL", "CHAIN") == (
        kinds[ROOT_NAME],
        kinds["chat gpt-realtime"],
        kinds[f"transcribe {talking.TRANSCRIBER}"],
        kinds["execute_tool lookup_weather"],
        kinds["response.done"],
    )
    assert {"AGENT", "LLM", "TOOL", "CHAIN"} == set(kinds.values())


@pytest.mark.platform
@pytest.mark.timeout(2 * START_S)
def test_phoenix_shows_messages_tools_and_tokens(in_phoenix: InPhoenix) -> None:
    """Of a model call, from the convention's attributes; nothing is without its input or output."""
    calls = [span["attributes"] for span in in_phoenix.spans if span["name"] == "chat gpt-realtime"]
    said = [call.get("llm.output_messages.0.message.content") for call in calls]
    assert "Eighteen in Paris, twenty-two in Tokyo." in said
    tools = {call.get(f"{TOOL_CALL}.function.name") for call in calls}
    assert "lookup_weather" in tools
    for call in calls:
        assert "gpt-realtime" == call["llm.model_name"]
        assert (
            call["llm.token_count.prompt"] + call["llm.token_count.completion"]
            == call["llm.token_count.total"]
        )
        assert call["llm.token_count.prompt_details.audio"] > 0
        assert json.loads(call["input.value"])["messages"]
        assert json.loads(call["output.value"])["choices"]
    root = in_phoenix.named(ROOT_NAME)
    assert "session" in json.loads(root["input.value"])
    assert "Weather?" == json.loads(root["output.value"])["messages"][0]["content"]
    tool = in_phoenix.named("execute_tool lookup_weather")
    assert ("lookup_weather", {"city"}) == (
        tool["tool.name"],
        json.loads(tool["input.value"]).keys(),
    )


TOOL_CALL = "llm.output_messages.0.message.tool_calls.0.tool_call"


@pytest.mark.platform
@pytest.mark.timeout(2 * START_S)
def test_a_thread_is_a_session_of_phoenix(in_phoenix: InPhoenix) -> None:
    """Its session has the call, with the tokens of its model calls."""
    answer = requests.get(f"{in_phoenix.url}/v1/projects/default/sessions", timeout=10)
    (session,) = answer.json()["data"]
    assert ("caller-0", [in_phoenix.traced.trace_id]) == (
        session["session_id"],
        [trace["trace_id"] for trace in session["traces"]],
    )
    totals = [
        span["attributes"].get("llm.token_count.total", 0)
        for span in in_phoenix.spans
        if span["span_kind"] == "LLM"
    ]
    assert sum(totals) == session["token_count_total"] > 0


@pytest.mark.platform
@pytest.mark.timeout(2 * START_S)
def test_the_snippet_of_the_page_reads_it_back(in_phoenix: InPhoenix) -> None:
    """The model calls of the thread, by Phoenix's own API."""
    model_calls = run(snippet("def model_calls("))["model_calls"]
    wanted = [span for span in in_phoenix.spans if span["span_kind"] == "LLM"]
    assert len(wanted) == len(model_calls(in_phoenix.url, "caller-0")) > 0
    assert [] == model_calls(in_phoenix.url, "somebody-else")


# --- the pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_has_its_config_and_says_what_was_run(page: Path) -> None:
    """The command names the config of the same name; what no test ran is said."""
    text = page.read_text()
    assert page.with_suffix(".yaml").is_file()
    assert f"--config=backends/{page.stem}.yaml" in text
    assert (page.stem in {"tempo", "langfuse"}) == ("**Not run here**" in text)


def test_every_config_has_its_page() -> None:
    """And the platform's README leads to each."""
    assert [page.stem for page in PAGES] == sorted(path.stem for path in BACKENDS.glob("*.yaml"))
    index = (CONFIGS / "README.md").read_text()
    assert [] == [page.name for page in PAGES if f"backends/{page.name}" not in index]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_is_set_is_set(page: Path) -> None:
    """Each variable and each attribute of the backend's stands in its config."""
    text, config = page.read_text(), page.with_suffix(".yaml").read_text()
    own = re.findall(r"`((?:langfuse\.|openinference\.|llm\.)[\w.]+)`", text)
    own += re.findall(r"`((?:SECOND_|PHOENIX_|TEMPO_)[A-Z_]+)", text)
    assert [] == [name for name in own if name not in config]
