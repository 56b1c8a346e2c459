"""The page of recipes is run: what it says of names, logs, trees, costs, files and versions is so.

``tests/e2e/test_servers.py`` runs its FastAPI app under real servers, ``tests/platform/test_fastapi.py``
its websocket; ``tests/e2e/test_links.py`` looks at both kinds of traces in a real Jaeger.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import otel_realtime
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.process.process import PROCESS
from otel_realtime.sandbox import Sandbox
from tests.lowest import constraints
from tests.support.isolation import langsmith_variables
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import ROOT, clean_environment
from tests.support.readme import run, snippet
from tests.support.talking import SPEED, WEATHER_CALL, weather_call
from tests.support.traces import Traces, facts, outline
from tests.support.voice_process import VoiceProcess, in_sandbox

PAGE = (ROOT / ".github" / "docs" / "recipes.md").read_text()


def block(language: str, marker: str) -> str:
    """The page's one code block of a language that contains a text."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (text,) = [text for text in found if marker in text]
    return str(text)


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    below = PAGE.split(f"\n## {heading}\n")[1]
    (rows, *_) = re.findall(r"(?:^\|.*\n)+", below, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()[2:]]


@pytest.fixture
def own(traces: Traces) -> Traces:
    """The app's own OpenTelemetry, which snippets that only instrument find."""
    PROCESS.tracer_provider = traces.provider
    return traces


def set_up_with(exported: str, look: str) -> Any:
    """What a process that calls ``configure()`` has, with the variables of a block."""
    pairs = [line.removeprefix("export ").split("=", 1) for line in exported.splitlines()]
    code = (
        "import json, otel_realtime\n"
        "from opentelemetry import trace\n"
        "otel_realtime.configure()\n"
        "provider = trace.get_tracer_provider()\n"
        f"print(json.dumps({look}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(PYTHONPATH=str(ROOT), OTEL_TRACES_EXPORTER="console", **dict(pairs)),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[0])


def test_the_time_that_servers_leave_is_as_said() -> None:
    """Their defaults, in seconds."""
    import uvicorn
    from gunicorn.config import GracefulTimeout
    from hypercorn.config import Config

    rows = dict(table("A FastAPI app under uvicorn, gunicorn or hypercorn"))
    assert f"`--graceful-timeout`, {GracefulTimeout.default} s" in rows["gunicorn"]
    config = Config()
    assert (
        f"`shutdown_timeout`, {config.shutdown_timeout:.0f} s, for this alone; "
        f"`graceful_timeout`, {config.graceful_timeout:.0f} s"
    ) in rows["hypercorn"]
    assert uvicorn.Config("app").timeout_graceful_shutdown is None


def test_names_are_on_the_resource() -> None:
    """Service, version, environment and host, as ``configure()`` makes it."""
    found = set_up_with(block("sh", "OTEL_SERVICE_NAME"), "dict(provider.resource.attributes)")
    expected = {
        "service.name": "support-line",
        "service.version": "1.4.2",
        "deployment.environment.name": "production",
        "host.name": "node-7",
    }
    assert expected == {key: found.get(key) for key in expected}


def test_the_queue_of_the_exporter_is_as_large_as_it_says() -> None:
    """The variables are the SDK's own, which ``configure()`` leaves to it."""
    exported = block("sh", "OTEL_BSP_MAX_QUEUE_SIZE")
    processor = "provider._active_span_processor._span_processors[0]"
    found = set_up_with(
        exported,
        f"[getattr({processor}, '_batch_processor', {processor})._max_queue_size,"
        f" getattr({processor}, '_batch_processor', {processor})._schedule_delay_millis]",
    )
    wanted = [float(number) for number in re.findall(r"=(\d+)", exported)]
    assert wanted == found


def test_logs_name_the_call_wherever_they_are_written(
    own: Traces, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the request before, while an event is handled, in a task of it, and after the call."""
    names = run(snippet("class CallIds"))
    log = logging.getLogger("app")
    log.setLevel(logging.INFO)
    try:
        otel_realtime.instrument()
        asyncio.run(_talk_and_log(own, log))
    finally:
        log.removeHandler(names["handler"])
        log.setLevel(logging.NOTSET)
    written = re.findall(r"call=(\S+) thread=(\S+) (\w+)$", capsys.readouterr().err, re.MULTILINE)
    root = own.root
    assert root.context is not None
    call = (f"{root.context.trace_id:032x}", "caller-7")
    expected = [("before", "-", "-"), *((name, *call) for name in ("event", "task"))]
    expected.append(("after", "-", "-"))
    assert expected == [(name, trace, thread) for trace, thread, name in written]


async def _talk_and_log(traces: Traces, log: logging.Logger) -> None:
    async def in_a_task() -> None:
        log.info("task")

    async def handle(*_: Any) -> None:
        log.info("event")
        await asyncio.create_task(in_a_task())

    with (
        ScriptedServer(WEATHER_CALL, speed=SPEED) as server,
        traces.tracer.start_as_current_span("request"),
    ):
        log.info("before")
        with otel_realtime.using(thread_id="caller-7"):
            await weather_call(server.url, session_created=handle)
        log.info("after")


def drawn(column: str) -> list[tuple[int, str]]:
    """A tree of the picture: depth and name of each line."""
    (picture,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    head, _, *lines = picture.splitlines()
    middle = head.index('parent="ambient"')
    sides = {"new": slice(0, middle), "ambient": slice(middle, None)}
    found = []
    for line in lines:
        text = line[sides[column]].split(" ─ ")[0].rstrip(" ▼│┐")
        name = text.lstrip(" ├└─│")
        if name:
            found.append(((len(text) - len(name)) // 3, name))
    return found


@pytest.mark.parametrize("parent", ["new", "ambient"])
def test_the_trees_are_as_drawn(own: Traces, process: pytest.MonkeyPatch, parent: str) -> None:
    """Every line of the picture is a span at that place, in that order."""
    process.setenv("OTEL_REALTIME_LANGSMITH", "off")
    if parent == "ambient":
        run(snippet('Settings(parent="ambient")'))
    else:
        otel_realtime.instrument()
    with (
        ScriptedServer(WEATHER_CALL, speed=SPEED) as server,
        own.tracer.start_as_current_span("POST /calls"),
    ):
        asyncio.run(weather_call(server.url))
    lines = outline(own.spans)
    real = [((len(line) - len(line.lstrip())) // 2, line.strip()) for line in lines]
    where = iter(real)
    assert [] == [line for line in drawn(parent) if line not in where]
    assert 5 == len(drawn(parent))
    assert len(own.one("POST /calls").links) == (parent == "new")


def test_what_a_call_costs_is_the_sum_of_its_tokens(own: Traces, tmp_path: Path) -> None:
    """From the JSON beside a recording; the same as from the spans."""
    names = run(snippet("def dollars("))
    otel_realtime.instrument(settings=otel_realtime.Settings(recordings_dir=str(tmp_path)))
    with ScriptedServer(WEATHER_CALL, speed=SPEED) as server:
        asyncio.run(weather_call(server.url))
    assert otel_realtime.flush(20)
    (sidecar,) = tmp_path.glob("*.json")
    read, written = names["PRICES"]["gpt-realtime"].values()
    expected = 0.0
    for span in own.named("chat gpt-realtime"):
        tokens = {key: value for key, value in facts(span).items() if "usage" in key}
        for modality, (price, cached_price) in {"text": read[:2], "audio": read[2:]}.items():
            count = tokens[f"gen_ai.usage.{modality}.input_tokens"]
            cached = tokens[f"gen_ai.usage.{modality}.cache_read.input_tokens"]
            expected += (count - cached) * price + cached * cached_price
        expected += tokens["gen_ai.usage.text.output_tokens"] * written[0]
        expected += tokens["gen_ai.usage.audio.output_tokens"] * written[1]
    assert expected > 0
    assert expected / 1e6 == pytest.approx(names["dollars"](json.loads(sidecar.read_text())))


def test_cached_tokens_are_paid_for_once() -> None:
    """Also where a count is not known."""
    dollars = run(snippet("def dollars("))["dollars"]
    none = dict.fromkeys(("total", "image", "cached", "cached_image", "text", "cached_text"))
    usage = {
        "model": "gpt-realtime",
        "input": {**none, "audio": 1_000_000, "cached_audio": 750_000},
        "output": {"total": None, "text": None, "audio": 500_000, "reasoning": None},
        "seconds": None,
    }
    assert 0.25 * 32 + 0.75 * 0.40 + 0.5 * 64 == pytest.approx(dollars({"usage": [usage]}))
    assert 0 == dollars({"usage": [{**usage, "model": "whisper-1"}]})


@pytest.mark.parametrize("variable", ["OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"])
def test_a_file_sets_opentelemetry_up_and_langsmith_stays_as_it_is(
    tmp_path: Path, variable: str
) -> None:
    """Spans go where the file says and to LangSmith by its own variables; an endpoint beside it is none."""
    pytest.importorskip("opentelemetry.configuration")
    source = block("yaml", "tracer_provider")
    assert "support-line" == yaml.safe_load(source)["resource"]["attributes"][0]["value"]
    with (
        OtlpRecorder(key="content-type") as backend,
        OtlpRecorder(key="content-type") as unused,
        Sandbox(tmp_path / "sandbox") as sandbox,
        ScriptedServer(WEATHER_CALL, speed=SPEED) as server,
    ):
        file = tmp_path / "otel.yaml"
        file.write_text(source.replace("http://localhost:4318", backend.endpoint))
        env = {
            variable: str(file),
            "OTEL_EXPORTER_OTLP_ENDPOINT": unused.endpoint,
            **langsmith_variables(sandbox.url),
        }
        with VoiceProcess(tmp_path / "app", server.url, env=env) as app:
            (traced,) = app.talked()
            assert app.flushed()["delivered"]
        spans = backend.wait(len(traced.spans))
        in_sandbox(sandbox, traced, root_by="runs_api")
    assert {"support-line"} == {span.resource["service.name"] for span in spans}
    assert [] == unused.spans()


def test_minimum_versions_are_those_of_the_project() -> None:
    """Each row is a bound of pyproject.toml, or of the Collector's config."""
    project = (ROOT / "pyproject.toml").read_text()
    bounds = dict(line.split("==") for line in constraints(project))
    listed = project.split("dependencies = [")[1].split("]")[0]
    # What `demo` asks for beyond the package is not the package's own bound.
    bounds |= dict(re.findall(r'"([\w.-]+)>=([\w.]+)"', listed))
    rows = table("Minimum versions")
    said = {name: version for cell, version in rows for name in re.findall(r"`([\w-]+)`", cell)}
    assert said == {name: bounds[name] for name in said}
    assert rows[-1][0].startswith("OpenTelemetry Collector")
    assert f", {rows[-1][1]} or newer" in (ROOT / "collector" / "config.yaml").read_text()
    (python,) = re.findall(r'requires-python = ">=([\d.]+)"', project)
    assert f"Python {python}." in PAGE


def test_the_status_of_each_name_is_as_said(own: Traces) -> None:
    """What is in the conventions is a constant of OpenTelemetry's package, what is proposed is none."""
    known = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    constants = {value for value in vars(known).values() if isinstance(value, str)}
    if "gen_ai.usage.cache_read.input_tokens" not in constants:
        pytest.skip("an older list of names")
    *conventional, proposed, older, ours = [
        re.findall(r"`([\w.]+\w)`", cell) for cell, _ in table("Status of the semantic conventions")
    ]
    for row in (*conventional, older):
        assert [] == [name for name in row if name not in constants]
    assert [] == [name for name in proposed if name in constants]
    assert [] == [name for name in ours if not name.startswith("otel_realtime")]


def test_the_names_are_those_that_a_call_has(own: Traces) -> None:
    """No row speaks of an attribute that no span carries."""
    otel_realtime.instrument()
    with ScriptedServer(WEATHER_CALL, speed=SPEED) as server:
        with otel_realtime.using(thread_id="caller-7"):
            asyncio.run(weather_call(server.url))
    carried = {key for span in own.spans for key in facts(span)}
    named = {
        name
        for cell, _ in table("Status of the semantic conventions")
        for name in re.findall(r"`(gen_ai[\w.]+\w)`", cell)
    }
    # Only on a response whose instructions were its own.
    assert set() == named - carried - {"gen_ai.system_instructions"}
    assert {None, ""} >= {
        span.instrumentation_scope.schema_url for span in own.spans if span.instrumentation_scope
    }
