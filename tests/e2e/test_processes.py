"""Programs of their own: set up from the environment, without any code of ours, and never closed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from otel_realtime.demo.scenario import Answer
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from otel_realtime.setup.instrumentor import OpenAIRealtimeInstrumentor
from tests.support import talking
from tests.support.isolation import langsmith_variables
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.talking import SPEED, tone
from tests.support.traces import samples, stretches

ROOT = Path(__file__).parents[2]
LONGEST_S = 60

#: A program that knows nothing of us: one spoken turn with the blocking client.
PLAIN_APP = """
import base64, os
from openai import OpenAI

client = OpenAI(api_key="any", websocket_base_url=os.environ["SERVER"])
rt = client.realtime.connect(model="gpt-realtime").enter()
turn_detection = {"type": "server_vad", "silence_duration_ms": 200}
rt.session.update(session={
    "type": "realtime", "audio": {"input": {"turn_detection": turn_detection}}
})
sound = open(os.environ["SOUND"], "rb").read()
for at in range(0, len(sound), 4800):
    rt.input_audio_buffer.append(audio=base64.b64encode(sound[at:at + 4800]).decode())
for event in rt:
    if event.type == "response.done":
        break
"""
CLOSED = PLAIN_APP + "rt.close()\n"
SET_UP = """
import logging, sys
logging.basicConfig(stream=sys.stdout, level="INFO", format="LOG %(levelname)s %(message)s")
import otel_realtime
provider = otel_realtime.configure()
otel_realtime.instrument()
"""
ASYNC_NEVER_CLOSED = """
import asyncio, os
from openai import AsyncOpenAI

async def main():
    client = AsyncOpenAI(api_key="any", websocket_base_url=os.environ["SERVER"])
    rt = await client.realtime.connect(model="gpt-realtime").enter()
    await rt.recv()
    os.environ["KEPT"] = "1"
    globals()["rt"] = rt

asyncio.run(main())
"""


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """The Realtime server of the programs."""
    script = talking.scenario(Answer(text="Hi.", pcm=tone(300)), rate_limits=False)
    with ScriptedServer(script, speed=SPEED) as running:
        yield running


@pytest.fixture
def variables(server: ScriptedServer, tmp_path: Path) -> dict[str, str]:
    """What every program is given."""
    sound = tmp_path / "question.pcm"
    sound.write_bytes(tone(300) + talking.silence(talking.SILENCE_MS))
    return {
        **os.environ,
        "SERVER": server.url,
        "SOUND": str(sound),
        "PYTHONPATH": str(ROOT),
        "OTEL_REALTIME_STATE_DIR": str(tmp_path / "state"),
    }


def run(program: str, variables: Mapping[str, str], *command: str, folder: Path) -> list[str]:
    """Run a program to its end; returns what it printed."""
    script = folder / "app.py"
    script.write_text(program, "utf-8")
    done = subprocess.run(
        [*(command or (sys.executable,)), str(script)],
        env=dict(variables),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def whole(sandbox: Sandbox) -> dict[str, Any]:
    """The only conversation that arrived: finished, and by the contract."""
    (listed,) = sandbox.conversations()
    found = sandbox.conversation(listed["id"])
    assert found is not None
    assert ("success", []) == (found["status"], found["violations"])
    return found


# --- never closed -------------------------------------------------------------------------------------


def test_a_program_that_never_closes(
    sandbox: Sandbox, variables: dict[str, str], tmp_path: Path
) -> None:
    """LangSmith's variables alone: what is live at the end is delivered there, the recording too."""
    variables |= langsmith_variables(sandbox.url)
    spoken = (
        "import time\ntime.sleep(0.5)\n"  # what is not said yet when the call ends is no part of it
    )
    lines = run(SET_UP + PLAIN_APP + spoken, variables, folder=tmp_path)
    assert [
        f"LOG INFO Realtime conversations are sent to LangSmith ({sandbox.url}, project calls)"
    ] == [line for line in lines if "conversations are sent" in line]
    found = whole(sandbox)
    assert {"chat gpt-realtime", "response.done"} <= {one["name"] for one in found["runs"]}
    user, _ = samples(sandbox.recording(found["id"]))
    ((first, after),) = stretches(user)
    assert 300 * talking.PER_MS == after - first


def test_an_asyncio_program_that_never_closes(
    sandbox: Sandbox, variables: dict[str, str], tmp_path: Path
) -> None:
    """The same when the event loop is gone before the process ends."""
    variables |= langsmith_variables(sandbox.url)
    run(SET_UP + ASYNC_NEVER_CLOSED, variables, folder=tmp_path)
    assert ["realtime_session", "session.created"] == [
        one["name"] for one in whole(sandbox)["runs"]
    ]


def test_exit_does_not_wait_for_a_dead_langsmith(variables: dict[str, str], tmp_path: Path) -> None:
    """Nobody answers: the process ends within its time, says so, and keeps what it had on disk."""
    variables |= langsmith_variables("http://127.0.0.1:9")
    variables["OTEL_REALTIME_EXIT_TIMEOUT_S"] = "0.5"
    lines = run(SET_UP + CLOSED, variables, folder=tmp_path)
    assert [line for line in lines if "exit_timeout_s=0.5" in line]
    assert list((tmp_path / "state").rglob("journal.jsonl"))


# --- without any code ---------------------------------------------------------------------------------


def test_the_entry_point_is_the_instrumentor() -> None:
    """``opentelemetry-instrument`` finds us by the name it is documented with."""
    (found,) = entry_points(group="opentelemetry_instrumentor", name="openai_realtime")
    assert OpenAIRealtimeInstrumentor is found.load()


def test_zero_code(sandbox: Sandbox, variables: dict[str, str], tmp_path: Path) -> None:
    """A program without a line of tracing, run by ``opentelemetry-instrument``, is traced whole."""
    variables |= langsmith_variables(sandbox.url)
    variables |= dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"), "none")
    program = str(Path(sys.executable).parent / "opentelemetry-instrument")
    run(CLOSED, variables, program, sys.executable, folder=tmp_path)
    found = whole(sandbox)
    assert found["has_recording"]
    assert {"chat gpt-realtime", "response.done"} <= {one["name"] for one in found["runs"]}


# --- configure() --------------------------------------------------------------------------------------


def otlp_variables(recorder: OtlpRecorder) -> dict[str, str]:
    """What sends spans to an OTLP backend."""
    return {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{recorder.endpoint}/v1/traces",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-api-key=backend",
    }


def test_configure_for_an_otlp_backend(variables: dict[str, str], tmp_path: Path) -> None:
    """An OTLP endpoint alone: the whole trace goes there, root included, and no sound to disk."""
    with OtlpRecorder() as backend:
        lines = run(SET_UP + CLOSED, variables | otlp_variables(backend), folder=tmp_path)
        root = backend.named("realtime_session")
        assert "" == root.parent_id
        assert {root.trace_id} == {span.trace_id for span in backend.spans()}
        assert "otel_realtime.langsmith.root" not in root.attributes
        assert "chat gpt-realtime" in {span.name for span in backend.spans()}
        assert [f"LOG INFO Realtime conversations are sent to {backend.endpoint}/v1/traces"] == [
            line for line in lines if "conversations are sent" in line
        ]
    assert [] == list(tmp_path.rglob("*.raw"))


def test_configure_for_both(sandbox: Sandbox, variables: dict[str, str], tmp_path: Path) -> None:
    """Both: each gets the whole trace once, with the same ids; the backend's root is marked."""
    variables |= langsmith_variables(sandbox.url)
    with OtlpRecorder() as backend:
        run(SET_UP + CLOSED, variables | otlp_variables(backend), folder=tmp_path)
        spans = backend.spans()
        root = backend.named("realtime_session")
    found = whole(sandbox)
    assert {one["id"] for one in found["runs"]} == {
        span.attributes["langsmith.span.id"] for span in spans
    }
    assert "runs_api" == root.attributes["otel_realtime.langsmith.root"]
    assert {"direct"} == {span.attributes["otel_realtime.langsmith.leg"] for span in spans}


def test_configure_for_nothing(variables: dict[str, str], tmp_path: Path) -> None:
    """Neither: the app runs, and one line says what to set."""
    lines = run(SET_UP + CLOSED, variables, folder=tmp_path)
    (line,) = [line for line in lines if line.startswith("LOG WARNING")]
    for name in ("LANGSMITH_TRACING", "LANGSMITH_API_KEY", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        assert name in line
    assert [] == list(tmp_path.rglob("*.raw"))


def test_configure_for_the_console(variables: dict[str, str], tmp_path: Path) -> None:
    """The exporters that OpenTelemetry's variable lists, as ``opentelemetry-instrument`` has them."""
    variables |= {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "console"}
    lines = run(SET_UP + CLOSED, variables, folder=tmp_path)
    assert "LOG INFO Realtime conversations are sent to the console" in lines
    assert 1 == len([line for line in lines if '"name": "realtime_session"' in line])
    assert [line for line in lines if '"name": "otel_realtime.conversation.duration"' in line]


def test_configure_for_langsmith_only(
    sandbox: Sandbox, variables: dict[str, str], tmp_path: Path
) -> None:
    """Traces switched off are switched off at the OTLP backend, and LangSmith's variables stand."""
    variables |= langsmith_variables(sandbox.url) | {"OTEL_TRACES_EXPORTER": "none"}
    with OtlpRecorder() as backend:
        run(SET_UP + CLOSED, variables | otlp_variables(backend), folder=tmp_path)
        assert [] == backend.spans()
    assert whole(sandbox)["has_recording"]


def test_configure_with_the_sdk_switched_off(variables: dict[str, str], tmp_path: Path) -> None:
    """The app runs, one line says that nothing is traced, and nothing is."""
    variables |= {"OTEL_SDK_DISABLED": "true"}
    with OtlpRecorder() as backend:
        lines = run(SET_UP + CLOSED, variables | otlp_variables(backend), folder=tmp_path)
        assert [] == backend.spans()
    (line,) = [line for line in lines if line.startswith("LOG WARNING")]
    assert "OTEL_SDK_DISABLED" in line


CONFIG_FILE = """
file_format: "1.0"
tracer_provider:
  processors:
    - batch:
        exporter:
          otlp_http:
            endpoint: {endpoint}/v1/traces
            headers: [{{name: x-api-key, value: backend}}]
"""


def test_configure_by_a_file(sandbox: Sandbox, variables: dict[str, str], tmp_path: Path) -> None:
    """Declarative configuration has the exporters; LangSmith's variables hold beside it."""
    file = tmp_path / "otel.yaml"
    variables |= langsmith_variables(sandbox.url) | {"OTEL_CONFIG_FILE": str(file)}
    with OtlpRecorder() as backend:
        file.write_text(CONFIG_FILE.format(endpoint=backend.endpoint))
        lines = run(SET_UP + CLOSED, variables, folder=tmp_path)
        assert "" == backend.named("realtime_session").parent_id
    assert [line for line in lines if f"and to where {file} says" in line]
    assert whole(sandbox)["has_recording"]


def test_a_provider_of_the_apps_own(
    sandbox: Sandbox, variables: dict[str, str], tmp_path: Path
) -> None:
    """``instrument()`` may come before the app sets its provider; ``configure()`` leaves that alone."""
    variables |= langsmith_variables(sandbox.url)
    own = """
import otel_realtime
otel_realtime.instrument()
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
mine = TracerProvider()
trace.set_tracer_provider(mine)
assert otel_realtime.configure() is mine is trace.get_tracer_provider()
"""
    run(own + CLOSED, variables, folder=tmp_path)
    assert whole(sandbox)["has_recording"]
