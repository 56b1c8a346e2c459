"""Versions, conflicts and clients, as they are installed here."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from otel_realtime.doctor import packages
from otel_realtime.doctor.packages import BESIDE, CLIENTS, look, look_at_clients
from otel_realtime.version import VERSION
from tests.support.doctor import by_id, here
from tests.support.readme import README

ROOT = Path(__file__).parents[2]


def installed(process: pytest.MonkeyPatch, **versions: str) -> None:
    """Let some packages have another version, or be there; the others are as they are."""
    names = {name.replace("_", "-"): text for name, text in versions.items()}
    real = metadata.version
    process.setattr(packages, "version", lambda name: names.get(name) or real(name))


def test_what_is_installed_here_fits() -> None:
    """The tests' own environment holds the package's bounds."""
    results = by_id(look(here()))
    assert VERSION in results["versions"].seen
    assert [] == [one for one in results.values() if one.status == "fail"]


def test_a_version_below_a_bound_fails(process: pytest.MonkeyPatch) -> None:
    """It is named with the bound, and how to get there."""
    installed(process, websockets="12.0")
    result = by_id(look(here()))["versions.websockets"]
    expected = ("fail", "websockets 12.0, and >=13 is required", 'pip install "websockets>=13"')
    assert expected == (result.status, result.seen, result.fix)


def test_packages_that_are_released_together(process: pytest.MonkeyPatch) -> None:
    """An SDK and an API of other days do not always fit."""
    installed(process, opentelemetry_api="1.30.0")
    result = by_id(look(here()))["versions.opentelemetry"]
    assert ("warn", True) == (result.status, "opentelemetry-api 1.30.0" in result.seen)


@pytest.mark.parametrize("name", list(BESIDE))
def test_what_else_looks_at_the_same_calls(process: pytest.MonkeyPatch, name: str) -> None:
    """With what that means, and what to do."""
    installed(process, **{name.replace("-", "_"): "1.0"})
    result = by_id(look(here()))[f"beside.{name}"]
    assert ("info", *BESIDE[name]) == (result.status, result.effect, result.fix)


def test_clients_and_their_lowest_versions_are_those_of_the_readme() -> None:
    """The row of what is supported."""
    (row,) = re.findall(r"^\| clients \| (.+), and later \|", README, re.MULTILINE)
    told = dict(re.findall(r"`([\w-]+)` ([\d.]+)", row))
    assert told == {name: lowest for name, (_, lowest) in CLIENTS.items() if lowest}


def test_clients_that_are_installed_can_be_tapped() -> None:
    """Each by the module that taps it."""
    results = by_id(look_at_clients(here(150)))
    assert {"clients.openai", "clients.websockets"} <= results.keys()
    told = {result.id: result.seen for result in results.values()}
    assert {"can be tapped"} == set(told.values()), told


def test_a_client_that_is_too_old_fails(process: pytest.MonkeyPatch) -> None:
    """Its calls may not be seen."""
    installed(process, aiohttp="3.7")
    result = by_id(look_at_clients(here(150)))["clients.aiohttp"]
    assert ("fail", 'pip install "aiohttp>=3.9"') == (result.status, result.fix)


def method(there: bool, missed: str = "") -> dict[str, Any]:
    """A method that a tap replaces."""
    return {"name": "a.B.c", "there": there, "missed": missed}


@pytest.mark.parametrize(
    ("client", "answers", "status", "effect"),
    [
        ("aiohttp", {"aiohttp": [method(False)]}, "fail", "its calls are not seen"),
        ("aiohttp", {"aiohttp": "ImportError: no"}, "fail", "its calls are not seen"),
        (
            "openai-agents",
            {"agents": [method(False)]},
            "warn",
            "its tools have the times of the wire",
        ),
        (
            "openai-agents",
            {"agents": [method(True), method(False, "no tools")]},
            "warn",
            "no tools",
        ),
        ("websockets", {"websockets": [method(True)], "legacy": [method(False)]}, "ok", ""),
    ],
    ids=["no-method", "no-import", "framework", "in-part", "either"],
)
def test_a_client_of_a_shape_that_is_not_known(
    client: str, answers: dict[str, Any], status: str, effect: str
) -> None:
    """A framework has its socket tapped all the same."""
    result = packages._client(client, "99.0", answers)
    assert (status, effect) == (result.status, result.effect)


def test_no_client_at_all(process: pytest.MonkeyPatch) -> None:
    """Only what the app reports is traced."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    process.setattr(packages, "version", missing)
    (result,) = look_at_clients(here())
    assert ("clients", "warn") == (result.id, result.status)
