"""Where the conversation goes, by the environment; and that the environment is as before afterwards."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from otel_realtime.errors import ConfigError
from otel_realtime.talk.destination import destination
from tests.support.isolation import langsmith_variables


def test_without_any_destination_it_stays_in_a_sandbox(
    process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a state directory of its own: what an app left behind is not delivered there."""
    state = tmp_path / "state"
    before = dict(os.environ)
    with destination(out=tmp_path / "out", local=False) as found:
        assert ("this machine", []) == (found.name, found.notes)
        assert str(tmp_path / "out") == found.recordings_dir
        assert found.sandbox is not None
        assert (found.sandbox.url, "true", "direct", str(state / "talk")) == tuple(
            os.environ[name]
            for name in (
                "LANGSMITH_ENDPOINT", "LANGSMITH_TRACING", "OTEL_REALTIME_LANGSMITH",
                "OTEL_REALTIME_STATE_DIR",
            )
        )  # fmt: skip
        assert (state / "sandbox").is_dir()
    assert before == dict(os.environ)


def test_langsmith(process: pytest.MonkeyPatch) -> None:
    """The user's variables stay what they are."""
    for name, value in langsmith_variables("http://127.0.0.1:9").items():
        process.setenv(name, value)
    with destination(out=None, local=False) as found:
        assert ("LangSmith (http://127.0.0.1:9, project calls)", None) == (
            found.name,
            found.sandbox,
        )
        assert "http://127.0.0.1:9" == os.environ["LANGSMITH_ENDPOINT"]
    with destination(out=None, local=True) as found:
        assert found.sandbox is not None
        assert found.sandbox.url == os.environ["LANGSMITH_ENDPOINT"]


def test_a_key_alone_sends_nothing(process: pytest.MonkeyPatch) -> None:
    """As with LangSmith's own client; the user is told."""
    process.setenv("LANGSMITH_API_KEY", "lsv2_pt_x")
    with destination(out=None, local=False) as found:
        assert found.sandbox is not None
        assert ["LANGSMITH_API_KEY is set, but LANGSMITH_TRACING is not true"] == [
            note.partition(":")[0] for note in found.notes
        ]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318", "http://127.0.0.1:4318"),
        ("OTEL_TRACES_EXPORTER", "console", "the console"),
        ("OTEL_TRACES_EXPORTER", "none", "this machine"),
    ],
)
def test_opentelemetry(process: pytest.MonkeyPatch, name: str, value: str, expected: str) -> None:
    """Its own variables; ``none`` says that there is no destination."""
    process.setenv(name, value)
    with destination(out=None, local=False) as found:
        assert expected == found.name
        assert (expected == "this machine") == (found.sandbox is not None)


def test_where_the_recording_is_kept(process: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the option says, else the setting, else ``recordings``; as a path to open from anywhere."""
    process.chdir(tmp_path)
    with destination(out=None, local=False) as found:
        assert str(tmp_path / "recordings") == found.recordings_dir
    process.setenv("OTEL_REALTIME_RECORDINGS_DIR", "s3://bucket/calls")
    with destination(out=None, local=False) as found:
        assert "s3://bucket/calls" == found.recordings_dir
    with destination(out=Path("mine"), local=False) as found:
        assert str(tmp_path / "mine") == os.environ["OTEL_REALTIME_RECORDINGS_DIR"]


def test_a_folder_that_cannot_be_made_is_said_before_the_call(tmp_path: Path) -> None:
    """After it the recording would be lost."""
    (tmp_path / "file").write_text("")
    message = f"cannot keep recordings in {tmp_path}/file: File exists; check --out"
    with pytest.raises(ConfigError, match=re.escape(message)):
        destination(out=tmp_path / "file", local=False).__enter__()
    assert str(tmp_path / "state") == os.environ["OTEL_REALTIME_STATE_DIR"]


def test_without_the_sandbox_the_recording_is_kept(
    process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is missing is said."""
    process.setitem(sys.modules, "otel_realtime.sandbox", None)
    with destination(out=tmp_path, local=False) as found:
        assert (None, "off") == (found.sandbox, os.environ["OTEL_REALTIME_LANGSMITH"])
        assert 'pip install "otel-realtime[sandbox]"' in found.notes[0]
