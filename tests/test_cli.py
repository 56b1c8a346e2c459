"""The command: what it says, where it says it, and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from otel_realtime import cli
from otel_realtime.errors import RecordingError
from otel_realtime.version import VERSION


def test_its_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """Read from the metadata, written down once."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert (0, f"otel-realtime {version('otel-realtime')}\n") == (
        ended.value.code,
        capsys.readouterr().out,
    )
    assert version("otel-realtime") == VERSION


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["recover", "--timeout", "soon"]])
def test_a_wrong_call_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """It ends with 2 and says how to call it."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert 2 == ended.value.code
    assert "usage: otel-realtime" in capsys.readouterr().err


def test_nothing_to_recover(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the folder that is named, else in that of the settings."""
    state = tmp_path / "named"
    assert 0 == cli.main(["recover", "--state-dir", str(state)])
    assert 0 == cli.main(["recover"])
    assert [f"nothing to recover in {state}", f"nothing to recover in {tmp_path / 'state'}"] == (
        capsys.readouterr().out.splitlines()
    )


def test_a_report_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is the only thing on standard output."""
    assert 0 == cli.main(["recover", "--json", "--state-dir", str(tmp_path)])
    report = json.loads(capsys.readouterr().out)
    assert ([], 0) == (report["conversations"], report["spans_delivered"])


WITHOUT = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
from otel_realtime import cli
sys.exit(cli.main(["sandbox", "--no-browser", "--port", "0"]))
"""


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "python_multipart"])
def test_an_extra_that_is_missing_is_named(missing: str) -> None:
    """With what to install; the exit code is that of a set-up error."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, missing],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert 2 == done.returncode
    assert f'needs {missing}: pip install "otel-realtime[sandbox]"' in done.stderr


def test_a_module_of_somebody_elses_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """No extra would bring it."""

    def fails(options: object) -> int:
        raise ModuleNotFoundError("No module named 'other'", name="other")

    monkeypatch.setitem(cli._COMMANDS, "recover", fails)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["recover"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RecordingError("no journal"), 2, "otel-realtime: no journal\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_ends_a_command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    """An error of ours is one line, Ctrl-C none."""

    def fails(options: object) -> int:
        raise error

    monkeypatch.setitem(cli._COMMANDS, "recover", fails)
    assert code == cli.main(["recover"])
    assert said == capsys.readouterr().err
