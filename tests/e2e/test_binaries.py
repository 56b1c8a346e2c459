"""Where the real programs are looked for, and what happens where there are none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e import binaries
from tests.support.processes import ROOT
from tests.support.programs import MISSING


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with none of the programs: empty PATH, empty cache, no variables."""
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("OTELCOL_BIN", "JAEGER_BIN", "ACTIONLINT_BIN", "CI"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def program(path: Path) -> Path:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return path


def test_the_variable_wins_then_path_then_the_cache(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each place is used only while the ones before it have nothing."""
    jaeger = binaries.JAEGER
    found = [jaeger.find()]
    places = [
        program(nowhere / "cache" / "otel-realtime-tests" / "bin" / jaeger.cached_as),
        program(nowhere / "path" / "jaeger"),
        program(nowhere / "elsewhere" / "my-jaeger"),
    ]
    places[1].unlink()
    found.append(jaeger.find())
    program(places[1])
    found.append(jaeger.find())
    monkeypatch.setenv("JAEGER_BIN", str(places[2]))
    found.append(jaeger.find())
    assert [None, *places] == found


def test_a_variable_that_names_nothing_is_an_error(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong path is said instead of silently using another program."""
    monkeypatch.setenv("OTELCOL_BIN", "/nowhere/otelcol")
    with pytest.raises(SystemExit, match="OTELCOL_BIN=/nowhere/otelcol"):
        binaries.COLLECTOR.find()


def test_checking_builds_nothing(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--check says by its exit status that something is missing."""
    assert binaries.main(["--check"]) == 1
    assert capsys.readouterr().out == "OTELCOL_BIN=\nJAEGER_BIN=\nACTIONLINT_BIN=\n"
    assert not (nowhere / "cache").exists()


def test_one_program_can_be_asked_for(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its name; one that does not exist is a usage error."""
    assert binaries.main(["--check", "actionlint"]) == 1
    assert capsys.readouterr().out == "ACTIONLINT_BIN=\n"
    with pytest.raises(SystemExit, match="2"):
        binaries.main(["--check", "shellcheck"])


def test_another_set_of_components_is_another_program() -> None:
    """The cached Collector belongs to the meaning of its builder config, comments aside."""
    config = binaries.BUILDER_CONFIG.read_text()
    digest = binaries._digest
    assert digest(config) == digest("# a remark\n\n" + config + "# another\n")
    assert digest(config) != digest(config.replace("0.161.0", "0.162.0"))


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_without_programs_tests_are_skipped_in_one_line_and_fail_in_ci(
    nowhere: Path, ci: str, outcome: str
) -> None:
    """A developer is told how to get them; in CI a skip would hide that nothing was tested."""
    test = "tests/e2e/test_collector_metrics.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", test],
        cwd=ROOT,
        env=os.environ | {"CI": ci, "PYTEST_XDIST_TESTRUNUID": f"{os.getpid()}-nested"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (outcome in done.stdout, MISSING in done.stdout) == (True, True), done.stdout
