"""The workflows: checked by actionlint, and by rules of this project."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.binaries import ACTIONLINT
from tests.support.processes import ROOT
from tests.support.programs import program

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
#: Actions that have no major versions but a branch for them.
BRANCHES = {"pypa/gh-action-pypi-publish@release/v1"}


def workflow(path: Path) -> dict[Any, Any]:
    """One file; YAML takes its key ``on`` for True."""
    return dict(yaml.safe_load(path.read_text()))


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every job of every workflow."""
    for path in FILES:
        for name, job in workflow(path)["jobs"].items():
            yield f"{path.stem}.{name}", job


@pytest.mark.collector
def test_actionlint_has_nothing_to_say() -> None:
    """Syntax, expressions, inputs of the known actions, shell scripts."""
    command = [str(program(ACTIONLINT)), "-no-color", *map(str, FILES)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_the_workflows_are_these() -> None:
    """Tests, lint, release."""
    assert ["lint", "release", "tests"] == [path.stem for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_runs_once(path: Path) -> None:
    """Rights are given to a job that needs more; a later run replaces or awaits the one before."""
    found = workflow(path)
    assert {"contents": "read"} == found["permissions"]
    assert {"group", "cancel-in-progress"} == found["concurrency"].keys()


def test_every_job_ends() -> None:
    """None can hang for the six hours that are the default."""
    without = [name for name, job in jobs() if not 0 < job.get("timeout-minutes", 0) <= 60]
    assert [] == without


def test_only_publishing_may_sign() -> None:
    """The token that PyPI trusts is had by one job, which runs no code of the repository."""
    granted = {name: job["permissions"] for name, job in jobs() if job.get("permissions")}
    assert {
        "release.publish": {"id-token": "write", "attestations": "write", "contents": "read"}
    } == granted
    publish = dict(jobs())["release.publish"]
    assert [] == [step for step in publish["steps"] if "run" in step]
    assert "pypi" == publish["environment"]["name"]


def test_there_are_no_secrets() -> None:
    """Nothing to leak, and a fork's pull request runs like any other."""
    for path in FILES:
        assert "secrets." not in path.read_text()
        assert "pull_request_target" not in path.read_text()


def test_actions_are_pinned_by_their_major_version() -> None:
    """Neither a moving branch nor a version that nobody will ever raise."""
    used = {step["uses"] for _, job in jobs() for step in job["steps"] if "uses" in step}
    assert used
    for action in used - BRANCHES:
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action), action


def test_the_same_action_has_the_same_version_everywhere() -> None:
    """One is not left behind."""
    used = {step["uses"] for _, job in jobs() for step in job["steps"] if "uses" in step}
    names = [action.partition("@")[0] for action in used]
    assert len(names) == len(set(names))


def test_make_targets_exist() -> None:
    """The workflows run what a developer runs."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = {
        target
        for _, job in jobs()
        for step in job["steps"]
        for target in re.findall(r"\bmake ([\w-]+)", step.get("run", ""))
    }
    assert {
        *("test", "test-collector", "test-frameworks", "test-lowest", "test-newest"),
        *("test-matrix", "test-neighbours", "test-platform", "platform-binaries"),
        *("lint", "actionlint", "collector-binaries", "portaudio", "demo", "web-check"),
    } == called
    assert not any("rerun" in path.read_text().lower() for path in FILES)
    assert called <= targets


def test_paths_named_in_workflows_exist() -> None:
    """Tests of the smoke run, and what the cache depends on."""
    for path in FILES:
        for name in re.findall(r"(?<![\w-])((?:tests|collector)/[\w/.-]+)", path.read_text()):
            assert (ROOT / name).exists(), name


def test_all_jobs_of_the_tests_are_awaited() -> None:
    """The job that a branch's protection asks for knows all others."""
    found = workflow(FOLDER / "tests.yml")["jobs"]
    passed = found.pop("passed")
    assert sorted(found) == sorted(passed["needs"])
    (step,) = passed["steps"]
    assert step["run"].count("success") == len(found)
