"""``langgraph dev`` runs an app under BlockBuster: a call in a graph is traced and recorded whole."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from otel_realtime.attributes import LEG
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from tests.support import talking
from tests.support.isolation import langsmith_variables
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import ROOT, clean_environment, free_ports
from tests.support.waiting import wait_for

pytest.importorskip("langgraph_api")

APP = ROOT / "tests" / "support" / "langgraph_app"
LONGEST_S = 90


def is_up(url: str, child: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether the server answers."""
    assert child.poll() is None, log.read_text()
    try:
        return requests.get(f"{url}/ok", timeout=2).ok
    except requests.RequestException:
        return False


def test_a_call_in_a_graph(sandbox: Sandbox, tmp_path: Path) -> None:
    """Nothing of ours blocks the server's loop, from the handshake to the close."""
    # The server keeps files beside its configuration.
    folder = shutil.copytree(APP, tmp_path / "app")
    log = tmp_path / "log.txt"
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    program = str(Path(sys.executable).parent / "langgraph")
    with (
        OtlpRecorder() as backend,
        ScriptedServer(talking.WEATHER_CALL, speed=talking.SPEED) as server,
        log.open("wb") as out,
    ):
        child = subprocess.Popen(
            [program, "dev", "--no-browser", "--no-reload", "--port", str(port)],
            cwd=folder,
            env=clean_environment(
                PYTHONPATH=str(ROOT),
                SERVER=server.url,
                LANGGRAPH_CLI_NO_ANALYTICS="1",
                OTEL_REALTIME_STATE_DIR=str(tmp_path / "state"),
                OTEL_REALTIME_END_ON_SIGTERM="true",
                OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{backend.endpoint}/v1/traces",
                OTEL_EXPORTER_OTLP_HEADERS="x-api-key=backend",
                **langsmith_variables(sandbox.url),
            ),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_for(lambda: is_up(url, child, log), "server", timeout_s=LONGEST_S, every_s=0.2)
            answer = requests.post(
                f"{url}/runs/wait",
                json={"assistant_id": "voice", "input": {}},
                timeout=LONGEST_S,
            )
            assert {"spoken": True} == answer.json(), log.read_text()
            child.terminate()
            child.wait(LONGEST_S)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        spans = [span for span in backend.spans() if LEG in span.attributes]
    text = log.read_text()
    assert "BlockingError" not in text, text
    assert "fault" not in text, text
    (listed,) = (one for one in sandbox.conversations() if one["name"] == "realtime_session")
    found = sandbox.conversation(listed["id"])
    assert found is not None
    assert ("success", [], True) == (
        found["status"],
        found["violations"],
        found["has_recording"],
    )
    assert 2 == len([run for run in found["runs"] if run["run_type"] == "tool"])
    assert sorted(run["id"] for run in found["runs"]) == sorted(
        span.attributes["langsmith.span.id"] for span in spans
    )
