"""The sizing page computes: every row of its table is what its formula gives with the page's own numbers.

``python -m tests.platform.test_sizing`` writes the rows again after a number was changed.
"""

from __future__ import annotations

import re
from math import ceil
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[2] / "collector" / "SIZING.md"
CALLS: Final = (100, 1_000, 10_000, 100_000)
_ROW: Final = re.compile(r"^\| `(\w+)` \|(.*)\|$", re.MULTILINE)


def cells(rest: str) -> list[str]:
    """The cells of a row behind its name."""
    return [cell.strip() for cell in rest.split("|")]


def given(page: str) -> dict[str, float]:
    """The units and assumptions by name."""
    before = page[: page.index("## By calls at once")]
    return {name: float(cells(rest)[0].replace(",", "")) for name, rest in _ROW.findall(before)}


def table(page: str) -> dict[str, list[str]]:
    """The rows of the table by name: what it is, the formula, a figure for each number of calls."""
    after = page[page.index("## By calls at once") :]
    return {name: cells(rest) for name, rest in _ROW.findall(after)}


def shown(value: float) -> str:
    """A figure as the page writes it: whole, or with two digits when it is small."""
    if isinstance(value, int) or value >= 10:
        return f"{value:,.0f}"
    return f"{value:.2g}"


def computed(page: str) -> dict[str, list[str]]:
    """The figures that the formulas give."""
    found: dict[str, list[str]] = {}
    for calls in CALLS:
        names: dict[str, float] = given(page) | {"calls": calls}
        for name, (_, formula, *_rest) in table(page).items():
            known = {"max": max, "min": min, "ceil": ceil, **names}
            names[name] = eval(formula.strip("`"), {"__builtins__": {}}, known)  # our own page
            found.setdefault(name, []).append(shown(names[name]))
    return found


def test_every_row_is_what_its_formula_gives() -> None:
    """The table's figures follow from its units, so none is out of date."""
    page = PAGE.read_text("utf-8")
    figures = {name: row[2:] for name, row in table(page).items()}
    assert computed(page) == figures


def test_every_number_of_the_page_is_used() -> None:
    """No unit and no assumption stands there for nothing."""
    page = PAGE.read_text("utf-8")
    formulas = " ".join(row[1] for row in table(page).values())
    assert [] == [name for name in given(page) if not re.search(rf"\b{name}\b", formulas)]


def write() -> None:
    """Write the figures into the page."""
    page = PAGE.read_text("utf-8")
    head, title, rest = page.partition("## By calls at once")
    figures = computed(page)

    def row(found: re.Match[str]) -> str:
        what, formula, *_ = cells(found[2])
        return f"| `{found[1]}` | {what} | {formula} | {' | '.join(figures[found[1]])} |"

    PAGE.write_text(head + title + _ROW.sub(row, rest), "utf-8")


if __name__ == "__main__":
    write()
