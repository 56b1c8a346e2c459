"""What surrounds the code is held against it: contributing, security, changelog, metadata."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import otel_realtime
from otel_realtime import credentials, langsmith_compat
from otel_realtime.cli.commands import COMMANDS
from otel_realtime.settings import Settings
from tests.benchmarks import __main__ as benchmarks
from tests.lowest import constraints
from tests.support.processes import ROOT
from tests.support.readme import README, anchors

GITHUB = ROOT / ".github"
CONTRIBUTING = (GITHUB / "CONTRIBUTING.md").read_text()
SECURITY = (GITHUB / "SECURITY.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PROJECT = (ROOT / "pyproject.toml").read_text()
PAGES = sorted([*GITHUB.glob("*.md"), *GITHUB.glob("docs/*.md")])
HOME = "https://github.com/otel-realtime/otel-realtime"


def commands() -> list[str]:
    """Every command line of the page on contributing."""
    blocks = re.findall(r"^```sh\n(.*?)^```", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def list_of(name: str) -> list[str]:
    """A list of strings in pyproject.toml (Python 3.10 has no reader for it)."""
    text = re.findall(rf"^{name} = \[(.*?)\]", PROJECT, re.MULTILINE | re.DOTALL)[0]
    return re.findall(r'"([^"]*)"', text)


# --- pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_and_links_lead_somewhere(page: Path) -> None:
    """What looks like a path of the repository is one, links to neighbours included."""
    text = page.read_text()
    for path in re.findall(r"`((?:otel_realtime|tests|collector|\.ci)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", prose):
        target = page.parent / link
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), anchor


def test_names_stand_in_the_files_that_are_named_with_them() -> None:
    """``_RULES`` in a file is a name of that file."""
    found = re.findall(
        r"`(\w+(?:\.[a-z_]+)?)`(?<!md`)[^`\n]{0,40}? in `([\w/]+\.py)`", CONTRIBUTING
    )
    assert len(found) > 5
    for name, path in found:
        assert name.rpartition(".")[2] in (ROOT / path).read_text(), (name, path)


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_page_is_one(command: str) -> None:
    """A target of the Makefile; parts of the benchmark and paths of tests are real."""
    program, target, *rest = command.split("#")[0].split()
    if program == "otel-realtime":
        assert target in COMMANDS
        return
    if program == "npm":
        assert ("run", "--prefix") == (target, rest[1])
        assert rest[0] in json.loads((ROOT / rest[2] / "package.json").read_text())["scripts"]
        return
    assert "make" == program
    done = subprocess.run(
        ["make", "-n", target, "VENV=/nonexistent"], cwd=ROOT, capture_output=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    arguments = re.findall(r'ARGS="([^"]*)"', command)
    for word in " ".join(arguments).split():
        if word.startswith("tests/"):
            assert (ROOT / word).exists(), word
    if target == "bench":
        assert arguments[0].split()[0] in Path(benchmarks.__file__).read_text()


def test_security_names_what_the_code_removes() -> None:
    """The keys whose values are secrets, and what is kept of a query."""
    assert {*credentials.ENDINGS, *credentials.WHOLE} == _between("keys")
    assert credentials.QUERY_KEYS == _between("query")


def _between(mark: str) -> set[str]:
    (text,) = re.findall(rf"<!-- {mark} -->(.*?)<!-- /{mark} -->", SECURITY)
    return set(re.findall(r"`([^`]+)`", text))


def test_security_names_the_bounds_of_the_disk() -> None:
    """The defaults that it speaks of are those of the settings."""
    settings = Settings()
    assert f"`state_max_mb` ({settings.state_max_mb:g})" in SECURITY
    assert f"`state_max_age_days` ({settings.state_max_age_days:g})" in SECURITY


@pytest.mark.parametrize("path", sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")), ids=str)
def test_issue_forms_are_well_formed(path: Path) -> None:
    """GitHub shows no form that lacks a label, or has an id twice."""
    form: dict[str, Any] = yaml.safe_load(path.read_text())
    if path.name == "config.yml":
        assert {"blank_issues_enabled", "contact_links"} == form.keys()
        return
    assert {"name", "description", "labels", "body"} == form.keys()
    ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(ids) == len(set(ids))
    for part in form["body"]:
        attributes = part["attributes"]
        assert attributes["value" if part["type"] == "markdown" else "label"]
        if part["type"] == "dropdown":
            options = attributes["options"]
            assert len(options) == len(set(options))


# --- changelog ----------------------------------------------------------------------------------


def releases() -> Iterator[tuple[str, str]]:
    """Each version of the changelog with its text."""
    parts = re.split(r"^## \[(.+?)\].*\n", CHANGELOG, flags=re.MULTILINE)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def test_the_changelog_has_the_shape_that_it_claims() -> None:
    """Unreleased first, then versions from the latest on; only the sections of Keep a Changelog."""
    versions = [version for version, _ in releases()]
    assert "Unreleased" == versions[0]
    numbers = [tuple(map(int, version.split("."))) for version in versions[1:]]
    assert numbers == sorted(numbers, reverse=True)
    known = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    for version, text in releases():
        titles = re.findall(r"^### (.+)$", text, re.MULTILINE)
        assert titles == sorted(titles, key=known.index), version


def test_the_changelog_knows_the_version() -> None:
    """The version of the package is released, or still to be."""
    assert otel_realtime.__version__ in [name for name, _ in releases()]
    for name, _ in releases():
        assert re.search(rf"^\[{re.escape(name)}\]: {HOME}/", CHANGELOG, re.MULTILINE), name


def test_a_release_sets_the_version_where_it_stands() -> None:
    """The page on releases names the file that the build reads."""
    stands = re.findall(r'^\[tool\.hatch\.version\]\npath = "(.+)"$', PROJECT, re.MULTILINE)
    releasing = CONTRIBUTING.split("\n## Releases\n")[1]
    assert stands == re.findall(r"set `VERSION` in `(.+?)`", releasing)


def test_public_names_say_since_when_they_are_there() -> None:
    """In the last line of their docstring, with a version of the changelog."""
    versions = {version for version, _ in releases()}
    for name in otel_realtime.__all__:
        thing = getattr(otel_realtime, name)
        if name == "__version__" or (isinstance(thing, type) and issubclass(thing, Exception)):
            continue
        last = str(thing.__doc__).strip().splitlines()[-1]
        (version,) = re.findall(r"^\s*Added in (\d+\.\d+\.\d+)\.$", last) or [last]
        assert version in versions, name


def test_what_came_after_a_release_does_not_claim_to_be_of_it() -> None:
    """What the changelog lists as unreleased says after which version it comes."""
    (_, unreleased), (latest, _), *_ = releases()
    functions = [langsmith_compat.wrap_realtime, langsmith_compat.wrap_realtime_session]
    for function in (*functions, otel_realtime.Conversation.redact_audio):
        if re.search(rf"[`.]{function.__name__}[`(]", unreleased):
            last = str(function.__doc__).strip().splitlines()[-1]
            assert f"Added after {latest}." == last.strip(), function.__name__


# --- metadata -----------------------------------------------------------------------------------


def python_versions() -> list[str]:
    """The interpreters that the classifiers name."""
    prefix = "Programming Language :: Python :: 3."
    return [
        f"3.{name[len(prefix) :]}" for name in list_of("classifiers") if name.startswith(prefix)
    ]


def test_interpreters_are_the_same_everywhere() -> None:
    """Classifiers, the lowest version, the README and the workflow agree."""
    (lowest,) = re.findall(r'^requires-python = ">=(.+?)"', PROJECT, re.MULTILINE)
    (row,) = re.findall(r"^\| Python \| ([\d., ]+);", README, re.MULTILINE)
    workflow = yaml.safe_load((GITHUB / "workflows" / "tests.yml").read_text())
    matrix = workflow["jobs"]["linux"]["strategy"]["matrix"]["python"]
    assert lowest == python_versions()[0]
    assert python_versions() == row.split(", ") == matrix


def test_lowest_versions_of_libraries_are_those_of_the_readme() -> None:
    """The table of what is supported says what the package requires."""
    for library, shown in (
        ("opentelemetry-sdk", "API and SDK {}"),
        ("openai", "`openai` {}"),
        ("langsmith", "`langsmith` {}"),
        ("aiohttp", "`aiohttp` {}"),
        ("websockets", "`websockets` {}"),
        ("websocket-client", "`websocket-client` {}"),
        ("httpx-ws", "`httpx-ws` {}"),
        ("openai-agents", "`openai-agents` {}"),
    ):
        # An extra may ask for more; the package's own bound stands first.
        version, *_ = re.findall(rf'"{library}(?:\[\w+\])?>=([\d.]+)"', PROJECT)
        assert shown.format(version) in README, library


def test_the_oldest_versions_are_those_of_the_bounds() -> None:
    """What ``make test-lowest`` installs: one version of each, the higher bound where two are given."""
    found = dict(line.split("==") for line in constraints(PROJECT))
    required = [re.match(r"[\w-]+", line) for line in list_of("dependencies")]
    assert {name[0] for name in required if name} <= found.keys()
    demo = re.findall(r'^demo = .*"openai>=([\d.]+)"', PROJECT, re.MULTILINE)
    assert [found["openai"]] == demo


def test_no_bound_keeps_a_newer_version_out() -> None:
    """An app may have any version of what it shares with the package: caps are the app's business."""
    assert [] == [line for line in list_of("dependencies") if re.search(r"<|==|~=|\[", line)]


def test_project_links_are_absolute_and_of_one_repository() -> None:
    """What the package index shows beside the description."""
    block = PROJECT.split("[project.urls]\n")[1].split("\n\n")[0]
    links = dict(re.findall(r'^(\w+) = "(.+)"$', block, re.MULTILINE))
    assert {"Homepage", "Documentation", "Changelog", "Issues", "Source"} == links.keys()
    assert all(link.startswith(HOME) for link in links.values())


def test_classifiers_are_sorted_and_once() -> None:
    """Which ones exist is checked by the build."""
    names = [re.sub(r"\d+", lambda n: n[0].zfill(3), name) for name in list_of("classifiers")]
    assert names == sorted(set(names))


def test_the_package_is_typed() -> None:
    """The marker stands in the package, and the whole package is in the wheel."""
    assert (Path(otel_realtime.__file__).parent / "py.typed").exists()
    assert ["otel_realtime"] == list_of("packages")
