"""The command line: its exit codes, what it prints, and where."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from otel_realtime import cli
from otel_realtime.version import VERSION

COMMANDS = ["demo", "sandbox", "recover", "redact"]


def run(*arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``python -m otel_realtime``, or ``code`` with the same arguments, as a new process."""
    program = ["-m", "otel_realtime"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[1],
    )


def test_the_module_is_the_command() -> None:
    """``python -m otel_realtime`` prints the version under the command's own name."""
    done = run("--version")
    assert (0, f"otel-realtime {VERSION}\n", "") == (done.returncode, done.stdout, done.stderr)


def test_an_unknown_command_is_a_usage_error() -> None:
    """Exit code 2 and a usage line on standard error, which names what there is."""
    done = run("unknown")
    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("usage: otel-realtime [-h] [--version] command ...\n")
    assert all(command in done.stderr for command in COMMANDS)


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A bare ``otel-realtime`` does not start anything."""
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert 2 == ended.value.code
    assert "usage: otel-realtime" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A usage line and the description of what it does."""
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert 0 == ended.value.code
    usage, description, *_ = capsys.readouterr().out.split("\n\n")
    assert usage.startswith(f"usage: otel-realtime {command} ")
    assert description.endswith(".")


def test_recover_of_an_empty_folder(tmp_path: Path) -> None:
    """Nothing is left, so it succeeds; and it says where it looked."""
    done = run("recover", "--state-dir", str(tmp_path))
    assert (0, "") == (done.returncode, done.stderr)
    assert f"nothing to recover in {tmp_path}\n" == done.stdout


def test_the_json_report_parses(tmp_path: Path) -> None:
    """``--json`` writes the report, and nothing else, to standard output."""
    done = run("recover", "--state-dir", str(tmp_path), "--json")
    assert 0 == done.returncode
    assert [] == json.loads(done.stdout)["conversations"]


#: Imports as on a machine where one module is not installed, then runs the command.
WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from otel_realtime.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("demo", "uvicorn"),
        ("sandbox", "uvicorn"),
        ("sandbox", "starlette"),
        ("sandbox", "python_multipart"),
    ],
)
def test_a_missing_extra_is_one_line(command: str, module: str, tmp_path: Path) -> None:
    """It names the library and what to install, without a traceback."""
    code = WITHOUT.format(module=module)
    done = run(command, "--no-browser", "--data-dir", str(tmp_path), code=code)
    expected = f'otel-realtime {command} requires {module}: pip install "otel-realtime[sandbox]"\n'
    assert (2, "", expected) == (done.returncode, done.stdout, done.stderr)
