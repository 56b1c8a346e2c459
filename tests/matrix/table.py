"""The README's table of clients, made from the results of the last whole run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from tests.matrix.members import ENVIRONMENTS, NOT_RUN, ROWS, Row

RESULTS: Final = Path(__file__).with_name("results.json")
README: Final = Path(__file__).parents[2] / "README.md"
BEGIN: Final = "<!-- clients: python -m tests.matrix --readme -->"
END: Final = "<!-- /clients -->"
HEAD: Final = (
    "| client | versions run | Python | tool span | recording | the app's code | limits |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)
Json = dict[str, Any]


def load() -> list[Json]:
    """Return the committed results, one for each environment."""
    return list(json.loads(RESULTS.read_text()))


def save(results: list[Json]) -> None:
    """Store results, those of environments that were run now over those from before."""
    known = {each["name"]: each for each in load()} if RESULTS.exists() else {}
    known.update({each["name"]: each for each in results})
    ordered = [known[each.name] for each in ENVIRONMENTS if each.name in known]
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")


def table(results: list[Json]) -> str:
    """Return the table, and below it what was not run."""
    lines = [*HEAD, *(_line(row, results) for row in ROWS)]
    lines += [f"| {each.title} | - | - | - | - | {each.needs} | {each.why} |" for each in NOT_RUN]
    missing = [f"`{each['name']}`: {each['not_run']}" for each in results if "not_run" in each]
    if missing:
        lines += ["", "Environments that were not run: " + "; ".join(missing) + "."]
    return "\n".join(lines)


def _line(row: Row, results: list[Json]) -> str:
    runs = [
        (each, each["clients"][function])
        for each in results
        for function in row.functions
        if function in each["clients"]
    ]
    good = [(each, told) for each, told in runs if "faults" not in told]
    failed = sorted({each["name"] for each, told in runs if "faults" in told})
    versions = {each["versions"][row.package] for each, _ in good}
    pythons = {re.sub(r"^(\d+\.\d+).*", r"\1", each["python"]) for each, _ in good}
    recorded = all(told["recorded"] for _, told in good)
    cells = (
        row.title,
        ", ".join(sorted(versions, key=_parts)) or "-",
        ", ".join(sorted(pythons, key=_parts)) or "-",
        ", ".join(sorted({f"`{told['tool']}`" for _, told in good})) or "-",
        "yes" if good and recorded else "no sound in this run" if good else "-",
        row.needs,
        "; ".join(filter(None, (row.limits, *(f"fails in `{name}`" for name in failed)))) or "-",
    )
    return f"| {' | '.join(cells)} |"


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def with_table(readme: str, made: str) -> str:
    """Return a README with the table between its markers."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{made}\n{END}{after}"
