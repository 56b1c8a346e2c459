"""The command line: its exit codes, what it prints, and where."""

from __future__ import annotations

import json
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from otel_realtime import cli
from otel_realtime.version import VERSION
from tests.support import golden, kept_call
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


@pytest.mark.parametrize("question", ["nonsense", "bash_complete"])
def test_a_question_that_no_shell_asks(
    question: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable that was left set is named: without its neighbours there is nothing to complete."""
    monkeypatch.setenv("_OTEL_REALTIME_COMPLETE", question)
    monkeypatch.delenv("COMP_WORDS", raising=False)
    assert 2 == cli.main([])
    assert f"_OTEL_REALTIME_COMPLETE='{question}' is no question" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("arguments", "module", "said"),
    [
        ("view CALLS", "uvicorn", 'requires uvicorn: pip install "otel-realtime[sandbox]"'),
        ("report CALLS/call.wav", "starlette", 'pip install "otel-realtime[sandbox]"'),
        ("report CALLS/call.wav", "soundfile", 'pip install "otel-realtime[audio-formats]"'),
        ("view s3://b/c", "fsspec", 'pip install "otel-realtime[buckets]"'),
        ("talk --list-devices", "sounddevice", 'pip install "otel-realtime[audio]"'),
        ("doctor --live --yes", "langsmith", 'pip install "otel-realtime[langsmith]"'),
    ],
)
def test_what_a_command_lacks_is_named(
    arguments: str, module: str, said: str, given: dict[str, Path]
) -> None:
    """With the extra that brings it; exit code 2."""
    typed = arguments.replace("CALLS", str(given["CALLS"])).split()
    variables = {"LANGSMITH_API_KEY": "k", "OTEL_REALTIME_STATE_DIR": str(given["NEW"])}
    done = run(*typed, code=WITHOUT.format(module=module), variables=variables)
    assert (2, "") == (done.returncode, done.stdout)
    assert module in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].endswith(said)


# -- whatever anybody may type ---------------------------------------------------------------------


def in_use() -> tuple[socket.socket, int]:
    """A port that is taken, as long as the socket is kept."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken, taken.getsockname()[1]


LONG = "x" * 5_000
#: Arguments -> a part of the one line that says what is wrong. In them, ``PORT`` is a port in use, and
#: the names in ``given`` are paths: ``FILE`` is empty, ``TYPO`` and ``NEW`` are not there.
MISTAKES: dict[str, str] = {
    "recover --state-dir TYPO": "there is no state directory",
    "recover --state-dir FILE": "is not a folder",
    "recover --state-dir FILE/below": "is not a folder",
    f"recover --state-dir {LONG}": "cannot be read: File name too long",
    "recover --state-dir=": "the name of a folder is empty",
    "recover --state-dir": "Option '--state-dir' requires an argument.",
    "recover --state-dir ~nobody-at-all/x": "Settings.state_dir='~nobody-at-all/x'",
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
    "sandbox --no-browser --port PORT": "Address already in use; --port 0 takes any free port",
    "sandbox --no-browser --host no.such.host.invalid": "cannot listen on no.such.host.invalid:8321",
    f"sandbox --no-browser --host {LONG}": "cannot listen on",
    "sandbox --no-browser --host=": "'--host': it is empty",
    "sandbox --no-browser --key=": "'--key': it is empty",
    "sandbox --no-browser --name=": "'--name': it is empty",
    "sandbox --no-browser --port 0 --link x": "--link takes NAME=https://..., not 'x'",
    "sandbox --no-browser --port 0 --data-dir FILE": "cannot store data in FILE",
    "sandbox --no-browser --port 0 --data-dir FILE/below": "check --data-dir",
    f"sandbox --no-browser --port 0 --data-dir {LONG}": "cannot store data in",
    "sandbox --no-browser --port 0 --data-dir DATABASE": "cannot store data in",
    "sandbox --data-dir=": "the name of a folder is empty",
    "view TYPO --no-browser": "no recording of 'TYPO'",
    "view ~nobody-at-all/x --no-browser": "no recording of '~nobody-at-all/x'",
    "view --no-browser": "give one, or set OTEL_REALTIME_RECORDINGS_DIR",
    "view --no-browser=": "does not take a value",
    "view  --no-browser": "the name of the call is empty",
    "view CALLS --no-browser --port PORT": "--port 0 takes any free port",
    "view CALLS --no-browser --host no.such.host.invalid": "check --host and --port",
    "view CALLS --no-browser --host=": "'--host': it is empty",
    "view CALLS --no-browser --key=": "'--key': it is empty",
    "view CALLS --no-browser --link =http://x": "--link takes NAME=https://..., not '=http://x'",
    "view what://is/this --no-browser": "cannot list what://is/this",
    "report": "Missing argument 'CONVERSATION|",
    "report ": "the name of the call is empty",
    "report CALLS": "CALLS is a folder: name one of its calls",
    "report TYPO": "no recording of 'TYPO'",
    "report call --recordings-dir FILE": "FILE is no folder of recordings",
    "report CALLS/call.wav -o TYPO/x.html": "cannot write TYPO/x.html: No such file or directory",
    "report CALLS/call.wav -o CALLS": "cannot write CALLS: Is a directory",
    "report CALLS/call.wav -o - --json": "--output - and --json both write to standard output",
    "export ": "the name of the call is empty",
    "export TYPO": "no recording of 'TYPO'",
    "export s3://bucket/call": "recordings in a bucket have to be fetched first",
    "export CALLS/call.wav -o FILE": "cannot write to FILE: File exists; check --out",
    "export CALLS/call.wav -o FILE/below": "cannot write to FILE/below: Not a directory; check --out",
    "export CALLS/call.wav -o -": "--out - is no folder: --json alone prints the call",
    "export SIDECARS/cut.wav -o NEW": "SIDECARS/cut.json is no JSON: Unterminated string",
    "export SIDECARS/bytes.json -o NEW": "SIDECARS/bytes.json is no JSON: byte 0 is not UTF-8",
    "export SIDECARS/nan.json --json": "SIDECARS/nan.json is no JSON: NaN is no number of JSON",
    "export SIDECARS/deep.json --json": "SIDECARS/deep.json is no JSON: it is nested too deeply",
    "export SIDECARS/turns.wav --json": "is no whole call: turns[0] is 3: an object is wanted",
    "export SIDECARS/later.wav --json": "is a call of version 99: this otel-realtime reads 1",
    "init": "Missing argument 'collector'",
    "init app .": "'app' is not 'collector'.",
    "init collector": "Missing argument 'DIR'",
    "init collector  --force": "the name of a folder is empty",
    "init collector s3://bucket/x": "a folder on this machine is wanted, not a URL: 's3://",
    "init collector FILE": "cannot use FILE",
    "init collector FILE/below": "cannot use FILE/below",
    f"init collector {LONG}": "File name too long",
    "redact CALLS --from 1 --to 2": "CALLS is a folder: name one of its recordings",
    "redact  --from 1 --to 2": "the name of the recording is empty",
    "redact TYPO --from 1 --to 2": "no recording of 'TYPO'",
    "redact CALLS/call.wav --from 2 --to 1": "--from 2 is not before --to 1",
    "redact CALLS/call.wav --from now --to 1": "--from 'now' is no position",
    "redact CALLS/call.wav --from 1": "Missing option '--to'",
    "redact CALLS/call.wav --from 1 --to 2 -o -": "--output - : a recording is written to a file",
    "redact s3://bucket/x.wav --from 1 --to 2": "recordings in a bucket have to be fetched first",
    "replay": "otel-realtime replay: Missing argument",
    "replay ": "the name of a log is empty",
    "replay TYPO": "cannot read TYPO: No such file or directory",
    "replay CALLS": "no logs in this folder (*.jsonl, *.ndjson)",
    "replay LOG": "nothing says where to send it",
    "replay LOG --out s3://bucket/calls": "a folder on this machine is wanted, not a URL: 's3://",
    "talk --out s3://bucket/calls": "a folder on this machine is wanted, not a URL: 's3://",
    "replay LOG --out FILE": "cannot keep recordings in FILE: File exists; check --out",
    "replay LOG --out FILE/below": "cannot keep recordings in FILE/below: Not a directory",
    "replay LOG --out NEW --speed nan": "--speed nan: a number from 0.001 on is wanted",
    "replay LOG --out NEW --start soon": "--start 'soon' is no time of a call",
    "replay LOG --out NEW --start 1e30": "--start '1e30' is no time of a call",
    "replay LOG --out NEW --start 0001-01-01": "--start '0001-01-01' is no time of a call",
    "replay LOG --out NEW --start=-5": "--start '-5' is no time of a call",
    "replay LOG --out NEW --timeout soon": "not a number of seconds: 'soon'",
    "doctor --attachment-mb nan": "not a size from 0 to 1000 MB: 'nan'",
    "doctor --attachment-mb=-1": "not a size from 0 to 1000 MB: '-1'",
    "doctor --timeout soon": "not a number of seconds: 'soon'",
    "doctor --live": "--live writes to LangSmith and needs a key: set LANGSMITH_API_KEY",
    "talk --push-to-talk --vad server": "--push-to-talk and --vad server contradict each other",
    "talk --scripted --url ws://x": "--url 'ws://x' and --scripted contradict each other",
    "talk --url ::": "--url '::' is no URL of ws, wss, http or https",
    "talk --vad sometimes": "'sometimes' is not one of",
    "talk --seconds=-1": "not a number of seconds: '-1'",
    "demo --fast --no-browser --data-dir FILE": "FILE",
    "demo --fast --no-browser --data-dir FILE/below": "FILE",
    f"demo --fast --no-browser --data-dir {LONG}": "File name too long",
    "demo --langsmith": "--langsmith requires the environment variable LANGSMITH_API_KEY",
    "demo --fast --slow": "No such option '--slow'.",
    "demo --data-dir= --fast": "the name of a folder is empty",
    "--completion tcsh": "'tcsh' is not one of",
}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return what the mistakes are made with, by its name."""
    folder = tmp_path_factory.mktemp("given")
    names = ("FILE", "DATABASE", "TYPO", "NEW", "CALLS", "SIDECARS", "LOG")
    paths = {name: folder / name.lower() for name in names}
    paths["FILE"].write_text("")
    paths["LOG"].write_text('{"type": "session.created", "session": {"id": "s"}}\n')
    paths["DATABASE"].mkdir()
    (paths["DATABASE"] / "sandbox.sqlite3").write_text("no database " * 100)
    call = kept_call.call_object("call")
    paths["CALLS"].mkdir()
    kept_call.keep(paths["CALLS"], call)
    whole = json.dumps(call)
    sidecars = {
        "cut": whole[:100].encode(),
        "bytes": b"\xff\x01\x02\x03",
        "nan": whole.replace('"duration_ms": ', '"x": NaN, "duration_ms": ', 1).encode(),
        "deep": b"[" * 100_000,
        "turns": json.dumps({**call, "turns": [3]}).encode(),
        "later": json.dumps({**call, "version": 99}).encode(),
    }
    paths["SIDECARS"].mkdir()
    for name, written in sidecars.items():
        shutil.copy(paths["CALLS"] / "call.wav", paths["SIDECARS"] / f"{name}.wav")
        (paths["SIDECARS"] / f"{name}.json").write_bytes(written)
    return paths


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda text: text[:60])
def test_a_mistake_is_told_in_a_line(
    mistake: str,
    as_json: bool,
    given: dict[str, Path],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit code 2, nothing on standard output (with --json neither), no traceback."""
    for name in langsmith_variables("x") | {"OTEL_REALTIME_RECORDINGS_DIR": ""}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_REALTIME_STATE_DIR", str(given["NEW"]))

    def named(text: str) -> str:
        for name, path in given.items():
            text = text.replace(name, str(path))
        return text

    taken, port = in_use()
    with taken:
        arguments = [named(one) for one in mistake.replace("PORT", str(port)).split(" ")]
        if as_json and not mistake.startswith("--"):
            arguments.insert(1, "--json")
        code = cli.main(arguments)
    told = capfd.readouterr()
    *usage, last = told.err.splitlines()
    assert (2, "") == (code, told.out)
    assert named(MISTAKES[mistake]) in last
    assert [] == usage or usage[0].startswith(("Usage: otel-realtime", "x.json", "Replaying"))


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """One line says what cannot be written, and the interpreter adds nothing at its end."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "otel_realtime", "recover", "--state-dir", str(tmp_path)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            cwd=Path(__file__).parents[1],
        )
    expected = "otel-realtime: cannot use standard output: No space left on device\n"
    assert (2, expected) == (done.returncode, done.stderr)


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
    assert child.stdout is not None
    select.select([child.stdout], [], [], 100)  # the first line of what it does
    for _ in range(5):  # a library that is being imported may swallow the first
        child.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            child.wait(15)
            break
    _, told = child.communicate(timeout=60)
    assert (0 if "sandbox" in arguments else 130) == child.returncode
    assert b"Traceback" not in told
