"""The README and the pages it leads to are run: every snippet, every command, each setting's line."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from openai import AsyncOpenAI
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_realtime
from otel_realtime import cli
from otel_realtime.demo.scenario import Answer, Call, Scenario
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.demo.speech import tone
from otel_realtime.process.process import PROCESS
from otel_realtime.recovery.sweep import Report
from otel_realtime.sandbox import Sandbox
from otel_realtime.settings import PROCESS_FIELDS, Settings
from tests.support.processes import clean_environment
from tests.support.readme import PAGES, README, anchors, blocks, run, snippet
from tests.support.redacted import Told
from tests.support.traces import samples, stretches

ROOT = Path(__file__).parents[1]
#: Where snippets of the other pages are run.
RUNNERS = (
    "test_recipes.py",
    "platform/test_backends.py",
    "platform/test_fastapi.py",
)


def scenario() -> Scenario:
    """A typed question that is answered by one function call, then by a tone."""
    said = Answer(text="It is sunny.", pcm=tone(440, 0.3))
    asked = Answer(calls=(Call(name="lookup_weather", arguments='{"city": "Paris"}'),))
    return Scenario(answers=(asked, said))


@dataclass
class Talk:
    """A client on a scripted server."""

    server: ScriptedServer
    client: AsyncOpenAI


@pytest.fixture
def provider() -> TracerProvider:
    """The app's own OpenTelemetry: snippets that only instrument find it."""
    provider = TracerProvider(shutdown_on_exit=False)
    PROCESS.tracer_provider = provider
    return provider


@pytest.fixture
def configured(provider: TracerProvider, process: pytest.MonkeyPatch) -> TracerProvider:
    """The app's own OpenTelemetry, set globally: ``configure()`` leaves it alone."""
    process.setattr(trace, "_TRACER_PROVIDER", provider)
    return provider


@pytest.fixture
def talk(provider: TracerProvider) -> Any:
    """A scripted server and the real client pointed at it."""
    with ScriptedServer(scenario()) as server:
        yield Talk(server, AsyncOpenAI(api_key="any", websocket_base_url=server.url))


async def ask(connection: Any) -> None:
    """Type a question and ask for its answer."""
    content = [{"type": "input_text", "text": "Is it sunny?"}]
    item = {"type": "message", "role": "user", "content": content}
    await connection.conversation.item.create(item=item)
    await connection.response.create()


def the_one_run(sandbox: Sandbox) -> dict[str, Any]:
    """The only conversation that reached the sandbox."""
    assert otel_realtime.flush(10)
    (listed,) = sandbox.conversations()
    found = sandbox.conversation(listed["id"])
    assert found is not None
    return found


def test_every_python_snippet_is_named_by_a_test() -> None:
    """No snippet stands in the README that nothing runs."""
    runners = (Path(__file__), *(ROOT / "tests" / name for name in RUNNERS))
    source = "\n".join(path.read_text() for path in runners)
    markers = [ast.literal_eval(text) for text in re.findall(r"snippet\(\s*(.+?),?\s*\)\)", source)]
    untested = [text for text in blocks("python") if not any(mark in text for mark in markers)]
    assert [] == untested


def test_one_line_instruments() -> None:
    """`instrument()` is all an app needs."""
    run(snippet("import otel_realtime\n\notel_realtime.instrument()\n"))
    assert otel_realtime.OpenAIRealtimeInstrumentor().is_instrumented_by_opentelemetry


def test_the_wrapper_is_imported_from_here(sandbox: Sandbox) -> None:
    """The snippet, and what it was before its import changed, play the same; ours arrives."""
    (change,) = blocks("diff")
    before, after = (line[1:] for line in change.splitlines())
    ours = run(snippet("async def wrapped_call("))["wrapped_call"]
    (source,) = [text for text in blocks("python") if after in text]
    theirs = run(source.replace(after, before))["wrapped_call"]
    scenario = Scenario(answers=(Answer(text="It is sunny.", pcm=tone(440, 0.3)),))
    played = []
    for call in (theirs, ours):
        heard: list[bytes] = []
        with ScriptedServer(scenario) as server:
            client = AsyncOpenAI(api_key="any", websocket_base_url=server.url)
            asyncio.run(call(client, "caller", SimpleNamespace(play=heard.append)))
        played.append(heard)
    assert played[0]
    assert played[0] == played[1]
    from langsmith.run_trees import get_cached_client

    get_cached_client().flush()
    assert otel_realtime.flush(10)
    calls = [sandbox.conversation(listed["id"]) for listed in sandbox.conversations()]
    roots = [run for found in calls for run in (found or {})["runs"] if run["parent_id"] is None]
    assert [("caller", "voice")] * 2 == [
        (root["metadata"]["thread_id"], root["project"]) for root in roots
    ]


def test_the_announced_conversation_prints_its_ids(
    talk: Talk, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ids that the snippet prints are those of the run in LangSmith."""
    call = run(snippet("thread_id=caller"))["call"]

    async def main() -> None:
        original = talk.client.realtime.connect

        def connect(**kwargs: Any) -> Any:
            manager = original(**kwargs)
            manager.send({"type": "response.create"})
            return manager

        talk.client.realtime.connect = connect  # type: ignore[method-assign]
        await call(talk.client, "caller-7")

    asyncio.run(main())
    found = the_one_run(sandbox)
    printed = capsys.readouterr().out.split()
    assert ["trace", found["root"]["metadata"]["OTEL_TRACE_ID"], "run", found["id"]] == printed
    assert ("caller-7", ["phone"]) == (found["thread_id"], found["root"]["tags"])


def test_a_loop_of_connections_is_one_conversation(talk: Talk, sandbox: Sandbox) -> None:
    """The first one is lost."""
    otel_realtime.instrument()
    keep_talking = run(snippet("except ConnectionClosedError"))["keep_talking"]
    lost: list[Any] = []

    async def say(connection: Any) -> None:
        async for event in connection:
            if event.type == "session.created":
                if lost:
                    return
                lost.append(connection)
                connection._connection.transport.abort()

    asyncio.run(keep_talking(talk.client, say, "caller-8"))
    root = the_one_run(sandbox)["root"]
    assert ("caller-8", 1) == (root["metadata"]["thread_id"], root["metadata"]["reconnects"])


def test_using_names_conversations_of_a_framework(talk: Talk, sandbox: Sandbox) -> None:
    """What `using` says is adopted by a connection that the app never sees."""
    otel_realtime.instrument()
    answer = run(snippet("run_agent(phone_call)"))["answer"]

    async def run_agent(phone_call: Any) -> None:
        async with talk.client.realtime.connect(model="gpt-realtime") as connection:
            await ask(connection)
            async for event in connection:
                if event.type == "response.done":
                    break

    asyncio.run(answer(SimpleNamespace(id="phone-1", tenant="acme"), run_agent))
    found = the_one_run(sandbox)
    assert ("phone-1", "acme") == (found["thread_id"], found["root"]["metadata"]["tenant"])


def test_an_app_on_its_own_transport_reports_messages(
    sandbox: Sandbox, provider: TracerProvider
) -> None:
    """Messages given by hand make a trace."""
    run(snippet("from-my-transport"))
    found = the_one_run(sandbox)
    assert ["realtime_session", "session.created"] == [one["name"] for one in found["runs"]]


def test_call_tool_gives_a_tool_its_exact_span(talk: Talk, sandbox: Sandbox) -> None:
    """The snippet's tool has one span, with the result it sent."""
    otel_realtime.instrument()
    run_tool = run(snippet("with call.tool(item.call_id)"))["run_tool"]

    async def lookup_weather(city: str) -> dict[str, str]:
        return {"city": city, "sky": "sunny"}

    async def main() -> None:
        async with talk.client.realtime.connect(model="gpt-realtime") as connection:
            await ask(connection)
            async for event in connection:
                if event.type != "response.done":
                    continue
                calls = [item for item in event.response.output if item.type == "function_call"]
                for item in calls:
                    await run_tool(connection, item, {"lookup_weather": lookup_weather})
                if not calls:
                    break
                await connection.response.create()

    asyncio.run(main())
    found = the_one_run(sandbox)
    tools = [one for one in found["runs"] if one["run_type"] == "tool"]
    assert ["execute_tool lookup_weather"] == [one["name"] for one in tools]
    assert {"city": "Paris", "sky": "sunny"} == tools[0]["outputs"]


class Taken:
    """A conversation, or a socket, that takes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def take(*args: Any, **kwargs: Any) -> None:
            told = [bytes(one) if isinstance(one, bytearray) else one for one in args]
            self.calls.append((name, told or kwargs))

        return take


def test_audio_callbacks_report_what_is_played(provider: TracerProvider) -> None:
    """The snippet's callbacks give a real conversation what it takes."""
    names = run(snippet("def on_speaker_needs_audio"))
    queue = SimpleNamespace(take=lambda size: ("item_1", bytes(size)))
    taken = Taken()
    with otel_realtime.conversation() as call:
        for told in (taken, call):
            names["on_speaker_needs_audio"](told, queue, 48_000.0, bytearray(960))
            names["on_microphone_audio"](told, 48_000.0, bytearray(960))
            names["on_progress"](told, "item_1", 20)
    assert [
        ("record_agent_audio", [bytes(960)]),
        ("record_user_audio", [bytes(960)]),
        ("played", ["item_1", 0, 20]),
    ] == taken.calls


def test_a_twilio_stream_is_truncated_where_it_was_heard() -> None:
    """Marks go out after each piece; the truncate claims what came back before the clear."""
    names = run(snippet("MediaStream"))
    sent: list[Any] = []

    async def send_json(message: Any) -> None:
        sent.append(message)

    async def truncate(**claim: Any) -> None:
        sent.append(claim)

    async def main() -> None:
        twilio = SimpleNamespace(send_json=send_json)
        connection = SimpleNamespace(
            conversation=SimpleNamespace(item=SimpleNamespace(truncate=truncate))
        )
        stream = names["MediaStream"]()
        event = SimpleNamespace(item_id="item_1", content_index=0, delta="EBAQ" * 80)
        for _ in range(2):
            await names["on_delta"](stream, twilio, "MZ1", event)
        stream.received({"event": "mark", "mark": sent[1]["mark"]})
        await names["on_speech_started"](stream, twilio, "MZ1", connection)

    asyncio.run(main())
    kinds = [message.get("event") for message in sent]
    assert ["media", "mark", "media", "mark", "clear", None] == kinds
    assert {"item_id": "item_1", "content_index": 0, "audio_end_ms": 30} == sent[-1]


def test_a_masked_number_is_silenced_where_it_was_said(
    sandbox: Sandbox, provider: TracerProvider
) -> None:
    """By the snippet's function: in the transcript, and on the user's side of the recording."""
    run(snippet("redact_audio=True"))
    with otel_realtime.conversation() as call:
        told = Told(call)
        told.agent(0, 1_000)
        told.user(0, 600)
        told.vad("item_1", 200, 600)
        told.user(600, 1_000)
        completed = "conversation.item.input_audio_transcription.completed"
        text = "It is 4111 1111 1111 1111."
        told.got(1_000, completed, item_id="item_1", content_index=0, transcript=text)
    found = the_one_run(sandbox)
    assert "4111" not in json.dumps(found)
    user, agent = samples(sandbox.recording(found["id"]))
    assert [(0, 200 * 24), (600 * 24, 1_000 * 24)] == stretches(user)
    assert agent.all()


def test_settings_are_given_to_instrument(
    tmp_path: Path, process: pytest.MonkeyPatch, talk: Talk
) -> None:
    """A recording is kept in the folder that the snippet names."""
    process.chdir(tmp_path)
    run(snippet('recordings_dir="recordings"'))

    async def main() -> None:
        async with talk.client.realtime.connect(model="gpt-realtime") as connection:
            for _ in range(2):  # the first answer only calls a function
                await connection.response.create()
                async for event in connection:
                    if event.type == "response.done":
                        break

    asyncio.run(main())
    assert otel_realtime.flush(10)
    assert 1 == len(list((tmp_path / "recordings").glob("*.wav")))


def test_the_variables_of_a_larger_set_up(tmp_path: Path) -> None:
    """What the block exports is what ``configure()`` sets up."""
    (block,) = [text for text in blocks("sh") if "OTEL_TRACES_EXPORTER" in text]
    pairs = [line.removeprefix("export ").split("=", 1) for line in block.splitlines()]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.configured", "ours"],
        input=json.dumps([dict(pairs)]),
        env=clean_environment(PYTHONPATH=str(ROOT)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    (found,) = json.loads(done.stdout)
    (_, otlp), (_, console) = found["spans"]
    assert "https://collector.example.com:4318/v1/traces" == otlp["_endpoint"]
    assert "('authorization', 'Bearer secret')" in otlp["headers"]
    assert "/etc/ssl/collector.pem" in otlp.values()
    assert console["type"].endswith("ConsoleSpanExporter")
    assert [] == found["metrics"]


def test_a_server_delivers_at_the_end_of_its_lifespan(
    talk: Talk, sandbox: Sandbox, configured: TracerProvider
) -> None:
    """A call that is live then is ended; ``tests/e2e/test_servers.py`` has the real servers."""
    exported = InMemorySpanExporter()
    configured.add_span_processor(BatchSpanProcessor(exported, schedule_delay_millis=60_000))
    names = run(snippet("lifespan"))

    async def main() -> None:
        async with names["lifespan"](names["app"]):
            connection = await talk.client.realtime.connect(model="gpt-realtime").enter()
            await connection.recv()

    asyncio.run(main())
    (listed,) = sandbox.conversations()
    assert "success" == listed["status"]
    assert "realtime_session" in {span.name for span in exported.get_finished_spans()}


def test_a_celery_worker_starts_and_stops_with_its_process(
    talk: Talk, sandbox: Sandbox, configured: TracerProvider
) -> None:
    """The signals call the functions; ``tests/e2e/test_servers.py`` has a real worker."""
    from celery import signals

    names = run(snippet("worker_process_init"))
    signals.worker_process_init.send(sender=None)

    async def main() -> None:
        connection = await talk.client.realtime.connect(model="gpt-realtime").enter()
        await connection.recv()
        signals.worker_process_shutdown.send(sender=None, pid=1, exitcode=0)

    asyncio.run(main())
    (listed,) = sandbox.conversations()
    assert "success" == listed["status"]
    signals.worker_process_init.disconnect(names["start"])
    for stopped in (signals.worker_process_shutdown, signals.worker_shutdown):
        stopped.disconnect(names["stop"])


def _settings_rows() -> dict[str, str]:
    table = README.split("<!-- settings -->")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| ", table, re.MULTILINE)
    return dict(rows)


def test_the_settings_table_has_every_field_once() -> None:
    """No setting is missing, none is left over, in the order of the class."""
    assert [item.name for item in fields(Settings)] == list(_settings_rows())


def test_the_settings_table_says_what_each_holds_for() -> None:
    """A conversation cannot have its own value of what holds for the process."""
    table = README.split("<!-- settings -->")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| .+? \| (\w+) \| ", table, re.MULTILINE))
    scopes = {item.name: "conversation" for item in fields(Settings)}
    assert scopes | dict.fromkeys(PROCESS_FIELDS, "process") == rows


#: Their default is a rule, said in words.
BY_RULE = {"state_dir", "max_attachment_mb"}


@pytest.mark.parametrize(
    "name", [item.name for item in fields(Settings) if item.name not in BY_RULE]
)
def test_the_settings_table_says_the_true_default(name: str) -> None:
    """Each default is the one that holds in a clean environment."""
    assert _shown(getattr(Settings(), name)) == _settings_rows()[name].strip("`")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if value < 1e6 else str(value)
    if isinstance(value, tuple):
        return ", ".join(value)
    return "none" if value is None else str(value)


@pytest.mark.parametrize(
    "command", [line for text in blocks("sh") for line in text.splitlines() if line]
)
def test_every_command_is_one_that_exists(command: str, tmp_path: Path) -> None:
    """`make` targets, `pip install` names, variables and the Collector's configs are real."""
    check: dict[str, Callable[[str], bool]] = {
        "make": _is_target,
        "pip": lambda line: "otel-realtime" in line,
        "export": lambda line: (
            line.split()[1].partition("=")[0].startswith(("LANGSMITH_", "OTEL_"))
            or _is_variable_of_a_config(line.split()[1].partition("=")[0])
        ),
        "otel-realtime": _is_subcommand,
        "opentelemetry-instrument": lambda line: _is_subcommand(line.partition(" ")[2]),
        # tests/platform/test_kafka.py runs it.
        "kafka-topics.sh": lambda line: "--create --topic otlp_spans" in line,
        "docker": lambda line: (ROOT / "docker-compose.yml").exists(),
        "prometheus": _names_files,
        "promtool": _names_files,
        "kubectl": lambda line: (ROOT / line.split()[-1] / "kustomization.yaml").exists(),
        "otelcol": lambda line: all(
            (ROOT / "collector" / name).exists() for name in re.findall(r"--config=(\S+)", line)
        ),
    }
    program = command.split()[0]
    assert program in check, f"nothing checks {command!r}"
    assert check[program](command)


def _names_files(line: str) -> bool:
    files = re.findall(r"(?:^| |=)([\w./-]+\.yml)", line)
    return bool(files) and all((ROOT / "collector" / name).exists() for name in files)


def _is_target(line: str) -> bool:
    arguments = line.split("#")[0].split()
    done = subprocess.run(
        [*arguments[:2], "-n", "VENV=/nonexistent"], cwd=ROOT, capture_output=True, check=False
    )
    return done.returncode == 0


def _is_variable_of_a_config(name: str) -> bool:
    return any(f"env:{name}" in path.read_text() for path in (ROOT / "collector").rglob("*.yaml"))


def _is_subcommand(line: str) -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "otel_realtime", line.split()[1], "--help"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def test_the_commands_named_in_the_text_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever `otel-realtime <command>` the README speaks of has a help of its own."""
    for command in sorted(set(re.findall(r"`otel-realtime (\w+)", README))):
        assert 0 == cli.main([command, "--help"])
        assert "Usage:" in capsys.readouterr().out


def test_the_report_of_recover_is_as_shown() -> None:
    """The JSON that scripts read has these keys and no others, and adds up."""
    (shown,) = (json.loads(text) for text in blocks("json"))
    report = Report(
        conversations=shown["conversations"],
        spans=shown["spans_delivered"],
        spans_left=shown["spans_left"],
        spans_lost=shown["spans_lost"],
        unreadable=shown["unreadable"],
    )
    assert report.as_json() == shown
    assert not report.complete


LINKS = re.findall(
    r"https://github\.com/otel-realtime/otel-realtime/blob/main/([^)#]+)(?:#([^)]+))?", README
)


@pytest.mark.parametrize(("path", "anchor"), sorted(set(LINKS)))
def test_links_into_the_repository_lead_somewhere(path: str, anchor: str) -> None:
    """They are absolute, so that they work on the package index as well."""
    assert (ROOT / path).is_file()
    assert not anchor or anchor in anchors((ROOT / path).read_text())


def test_the_readme_is_a_guide() -> None:
    """It is read to its end; what is looked up stands on pages of its own."""
    assert len(PAGES[0].read_text().splitlines()) < 200


def test_no_link_is_relative() -> None:
    """The package index shows this file without the repository around it."""
    assert [] == re.findall(
        r"\]\((?!https://)[^)]*\)", re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    )
