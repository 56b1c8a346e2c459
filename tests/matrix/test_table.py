"""The README says what the matrix has shown, and the matrix runs every client there is."""

from __future__ import annotations

import re

import pytest

from tests.matrix import table
from tests.matrix.clients import CLIENTS
from tests.matrix.frameworks import FRAMEWORKS
from tests.matrix.members import ENVIRONMENTS, NOT_RUN, ROWS, Environment

RESULTS = {each["name"]: each for each in table.load()}
GOOD = {"tool": "exact", "below": True, "knew": True, "recorded": True, "closed": "1000"}


def test_the_readme_has_the_table() -> None:
    """``python -m tests.matrix --readme`` makes it from the results."""
    readme = table.README.read_text()
    assert table.with_table(readme, table.table(table.load())) == readme


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda each: each.name)
def test_the_results_are_those_of_this_matrix(environment: Environment) -> None:
    """After a change of the table of environments: ``make test-matrix ARGS="--save NAME"``."""
    found = RESULTS[environment.name]
    assert list(environment.requirements) == found["requirements"]
    if "not_run" not in found:
        assert list(environment.clients) == list(found["clients"])
        assert found["python"].startswith(environment.python.rstrip("t"))


@pytest.mark.parametrize("name", list(RESULTS))
def test_everything_was_seen(name: str) -> None:
    """Every frame once, one root, the tool below its event, the app's span below the tool."""
    for client, told in RESULTS[name]["clients"].items():
        assert "faults" not in told, client
        assert (True, True) == (told["below"], told["knew"]), client
    assert "failed" not in RESULTS[name].get("tests", {})


def test_no_client_is_left_out() -> None:
    """Each runs somewhere, and stands in a row."""
    functions = {*CLIENTS, *FRAMEWORKS}
    assert functions == {name for each in ENVIRONMENTS for name in each.clients}
    assert functions == {name for row in ROWS for name in row.functions}


def test_a_row_adds_up_its_runs() -> None:
    """Versions and interpreters in order; what is recorded in some runs only is not recorded."""
    row = next(each for each in ROWS if each.functions == ("rtvoice",))
    results = [
        {
            "name": name,
            "python": python,
            "versions": {"rtvoice": version},
            "clients": {"rtvoice": GOOD},
        }
        for name, python, version in (("a", "3.13.0", "0.10.0"), ("b", "3.9.1", "0.9.0"))
    ]
    line = table._line(row, results)
    assert "| rtvoice | 0.9.0, 0.10.0 | 3.9, 3.13 | `exact` | yes | nothing | - |" == line
    results[0]["clients"] = {"rtvoice": {**GOOD, "recorded": False}}
    results[1]["clients"] = {"rtvoice": {**GOOD, "faults": ["frames sent: {} instead of {}"]}}
    line = table._line(row, results)
    assert (
        "| rtvoice | 0.10.0 | 3.13 | `exact` | no sound in this run | nothing | fails in `b` |"
        == line
    )


def test_what_was_not_run_is_named_with_the_reason() -> None:
    """Clients, and environments."""
    results = [
        {"name": "newest-3.14", "python": "3.14", "clients": {}, "not_run": "no Python 3.14"}
    ]
    made = table.table(results)
    assert made.endswith("Environments that were not run: `newest-3.14`: no Python 3.14.")
    for each in NOT_RUN:
        assert re.search(rf"^\| {re.escape(each.title)} \| - .*{re.escape(each.why)}", made, re.M)
