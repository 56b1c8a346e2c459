"""The command line: its exit codes, what it prints, and where."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from otel_realtime import cli
from otel_realtime.version import VERSION
from tests.support import golden
from tests.support.isolation import langsmith_variables
from tests.support.processes import clean_environment

COMMANDS = list(cli.app.COMMANDS)


def run(
    *arguments: str, code: str | None = None, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m otel_realtime``, or ``code`` with the same arguments, as a new process."""
    program = ["-m", "otel_realtime"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[1],
        env=clean_environment(**variables) if variables is not None else None,
    )


def test_the_module_is_the_command() -> None:
    """``python -m otel_realtime`` prints the version under the command's own name."""
    done = run("--version")
    assert (0, f"otel-realtime {VERSION}\n", "") == (done.returncode, done.stdout, done.stderr)


def test_an_unknown_command_is_a_usage_error() -> None:
    """Exit code 2 and a usage line on standard error."""
    done = run("unknown")
    assert (2, "") == (done.returncode, done.stdout)
    usage, _, problem = done.stderr.splitlines()
    assert "Usage: otel-realtime [OPTIONS] COMMAND [ARGS]..." == usage
    assert "otel-realtime: No such command 'unknown'." == problem


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A bare ``otel-realtime`` does not start anything."""
    assert 2 == cli.main([])
    told = capsys.readouterr()
    assert ("", "otel-realtime: Missing command.") == (told.out, told.err.splitlines()[-1])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A usage line, what it does, and examples that parse."""
    assert 0 == cli.main([command, "--help"])
    told = capsys.readouterr().out
    usage, description, *_ = told.split("\n\n")
    assert usage.startswith(f"Usage: otel-realtime {command} ")
    assert description.endswith(".")
    _, _, examples = told.partition("Examples:\n")
    typed = [line.strip().split("  ")[0] for line in examples.splitlines()]
    lines = [line for line in typed if line.startswith("otel-realtime ")]
    assert lines
    for line in lines:
        name, *arguments = shlex.split(line)[1:]
        assert command == name
        cli.app.COMMANDS[name].make_context(name, arguments)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """The script asks the command, which answers with commands and options."""
    assert "_OTEL_REALTIME_COMPLETE" in run("--completion", shell).stdout
    variables = {
        "_OTEL_REALTIME_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "otel-realtime recover --st",
        "COMP_CWORD": "--st" if shell == "fish" else "2",
    }
    done = run(variables=variables)
    assert 0 == done.returncode
    assert "--state-dir" in done.stdout


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


# -- whatever anybody may type ---------------------------------------------------------------------


def in_use() -> tuple[socket.socket, int]:
    """A port that is taken, as long as the socket is kept."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken, taken.getsockname()[1]


LONG = "x" * 5_000
#: Arguments -> a part of the one line that says what is wrong. ``FILE``: a file; ``PORT``: one in use.
MISTAKES: dict[str, str] = {
    "recover --state-dir TYPO": "there is no state directory",
    "recover --state-dir FILE": "is not a folder",
    "recover --state-dir FILE/below": "is not a folder",
    f"recover --state-dir {LONG}": "cannot be read: File name too long",
    "recover --state-dir=": "the name of a folder is empty",
    "recover --state-dir": "Option '--state-dir' requires an argument.",
    "recover --timeout nan": "not a number of seconds: 'nan'",
    "recover --timeout=-1": "not a number of seconds: '-1'",
    "recover --timeout inf": "not a number of seconds: 'inf'",
    "recover --timeout 1e300": "not a number of seconds",
    "recover --timeout soon": "not a number of seconds: 'soon'",
    "recover --stat-dirs x": "No such option '--stat-dirs'. Did you mean '--state-dir'?",
    "recover more": "Got unexpected extra argument (more)",
    "sandbox --port -1": "not a port: '-1'",
    "sandbox --port 65536": "not a port: '65536'",
    "sandbox --port http": "not a port: 'http'",
    "sandbox --port 8_0": "not a port: '8_0'",
    "sandbox --no-browser --port PORT": "cannot listen on 127.0.0.1:",
    "sandbox --no-browser --host no.such.host.invalid": "cannot listen on no.such.host.invalid:8321",
    f"sandbox --no-browser --host {LONG}": "cannot listen on",
    "sandbox --no-browser --port 0 --data-dir FILE": "cannot store data in",
    "sandbox --no-browser --port 0 --data-dir FILE/below": "cannot store data in",
    f"sandbox --no-browser --port 0 --data-dir {LONG}": "cannot store data in",
    "sandbox --no-browser --port 0 --data-dir DATABASE": "cannot store data in",
    "sandbox --data-dir=": "the name of a folder is empty",
    "demo --fast --no-browser --data-dir FILE": "FILE",
    "demo --fast --no-browser --data-dir FILE/below": "FILE",
    f"demo --fast --no-browser --data-dir {LONG}": "File name too long",
    "demo --fast --slow": "No such option '--slow'.",
    "demo --data-dir= --fast": "the name of a folder is empty",
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda text: text[:60])
def test_a_mistake_is_told_in_a_line(mistake: str, tmp_path: Path) -> None:
    """Exit code 2, nothing on standard output, no traceback."""
    (tmp_path / "FILE").write_text("")
    (tmp_path / "DATABASE").mkdir()
    (tmp_path / "DATABASE" / "sandbox.sqlite3").write_text("no database " * 100)
    taken, port = in_use()
    with taken:
        arguments = mistake.replace("PORT", str(port)).split(" ")
        for name in ("FILE", "DATABASE", "TYPO"):
            arguments = [one.replace(name, str(tmp_path / name)) for one in arguments]
        done = run(*arguments)
    *usage, last = done.stderr.splitlines()
    assert (2, "") == (done.returncode, done.stdout)
    assert MISTAKES[mistake].replace("FILE", str(tmp_path / "FILE")) in last
    assert [] == usage or usage[0].startswith("Usage: otel-realtime")


#: Variables that make no sense; each command goes on, or says so in a line.
VARIABLES = [
    {"OTEL_REALTIME_STATE_DIR": "/no/such/place"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "::no url::"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_COMPRESSION": "zip"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no"},
    {"LANGSMITH_ENDPOINT": "not a url", "LANGSMITH_API_KEY": "k", "LANGSMITH_TRACING": "true"},
    {"OTEL_REALTIME_STATE_MAX_MB": "lots", "OTEL_REALTIME_LANGSMITH": "maybe"},
]


@pytest.mark.parametrize("variables", VARIABLES, ids=lambda given: next(reversed(given)))
def test_variables_that_make_no_sense(variables: dict[str, str], tmp_path: Path) -> None:
    """Recovery of what a process left ends as documented, without a traceback."""
    state = golden.copy("0.1.0", tmp_path / "left", url="http://127.0.0.1:9", recordings=tmp_path)
    done = run("recover", "--state-dir", str(state), "--timeout", "1", variables=variables)
    assert 1 == done.returncode
    assert "Traceback" not in done.stderr + done.stdout
    named = run("recover", variables={"OTEL_REALTIME_STATE_DIR": str(tmp_path / "no"), **variables})
    assert (2, "") == (named.returncode, named.stdout)


@pytest.mark.parametrize("arguments", ["--help", "recover --state-dir STATE --timeout 1"])
def test_a_reader_that_goes_away(arguments: str, tmp_path: Path) -> None:
    """``| head``: no traceback, and what is delivered does not depend on who reads of it."""
    state = golden.copy("0.1.0", tmp_path / "left", url="http://127.0.0.1:9", recordings=tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-m", "otel_realtime", *arguments.replace("STATE", str(state)).split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    told = child.stderr.read().decode()
    child.stderr.close()
    child.wait(60)
    assert "Traceback" not in told
    assert "Exception ignored" not in told


def test_output_that_is_closed(tmp_path: Path) -> None:
    """``>&-``: the command does its work and says nothing."""
    command = f'exec "{sys.executable}" -m otel_realtime recover --state-dir "{tmp_path}" >&- 2>&-'
    done = subprocess.run(
        ["sh", "-c", command], check=False, timeout=60, cwd=Path(__file__).parents[1]
    )
    assert 0 == done.returncode


@pytest.mark.parametrize(
    "arguments",
    [
        "sandbox --no-browser --port 0 --data-dir PLACE",
        "recover --state-dir STATE",
        "demo --no-browser --data-dir PLACE",
    ],
)
def test_ctrl_c(arguments: str, tmp_path: Path) -> None:
    """130 after Ctrl-C, 0 where that is the normal end; no traceback."""
    state = golden.copy("0.1.0", tmp_path / "left", url="http://127.0.0.1:9", recordings=tmp_path)
    given = arguments.replace("STATE", str(state)).replace("PLACE", str(tmp_path / "place"))
    child = subprocess.Popen(
        [sys.executable, "-m", "otel_realtime", *given.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**clean_environment(), **langsmith_variables("http://127.0.0.1:9")},
        cwd=Path(__file__).parents[1],
        # A shell lets what it runs in the background ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(3)  # it runs by now
    for _ in range(5):  # a library that is being imported may swallow the first
        child.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            child.wait(15)
            break
    _, told = child.communicate(timeout=60)
    assert (0 if "sandbox" in arguments else 130) == child.returncode
    assert b"Traceback" not in told
