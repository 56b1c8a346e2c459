"""Prints the report: groups of results, each problem with its fix, and the verdict at the end."""

from __future__ import annotations

from typing import Any, Final

from otel_realtime import console
from otel_realtime.doctor.model import STATUSES, Report, Result, Status
from otel_realtime.version import VERSION

_MARKS: Final[dict[Status, str]] = {"ok": "ok", "info": "info", "warn": "WARN", "fail": "FAIL"}
_STYLES: Final[dict[Status, str | None]] = {
    "ok": "green",
    "info": None,
    "warn": "yellow",
    "fail": "bold red",
}
#: Longest line on which the effect is printed beside the finding.
_WIDTH: Final = 110
_TABLE: Final = "Who delivers what"


def as_json(report: Report, live: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the report as JSON values.

    Args:
        report: the findings of the checks.
        live: answers of ``--live``; ``None`` without ``--live``.
    """
    value: dict[str, Any] = {
        "version": VERSION,
        "verdict": report.verdict,
        "deliveries": [{"what": row.what, "by": row.by, "to": row.to} for row in report.deliveries],
        "results": [
            {"group": group, **result.as_json()}
            for group, results in report.groups.items()
            for result in results
        ],
    }
    if live is not None:
        value["live"] = live
    return value


def print_report(report: Report) -> None:
    """Print the report for people, without the verdict."""
    for group, results in report.groups.items():
        if not results and group != _TABLE:
            continue
        console.say(group, style="bold")
        if group == _TABLE:
            _print_deliveries(report)
        for result in results:
            _print_result(result)
        console.say()
    counts = dict.fromkeys(STATUSES, 0)
    for result in report.results:
        counts[result.status] += 1
    problems = _counted(counts["fail"], "problem")
    console.say(f"{problems}, {_counted(counts['warn'], 'warning')}, {counts['ok']} fine")


def print_verdict(report: Report) -> None:
    """Print the verdict, which is the last line."""
    console.say(report.verdict, style="bold red" if report.failed else "bold green")


def _print_deliveries(report: Report) -> None:
    rows = [(row.what, row.by, row.to) for row in report.deliveries]
    if rows:
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        for what, by, to in rows:
            console.say(f"  {what.ljust(widths[0])}  {by.ljust(widths[1])}  {to}".rstrip())


def _print_result(result: Result) -> None:
    mark = _MARKS[result.status]
    text, effect = f"  {mark:<4}  {result.title}: {result.seen}", result.effect
    if effect and not result.fix and len(text) + len(effect) < _WIDTH:
        text, effect = f"{text} ({effect})", ""
    console.say(text, style=_STYLES[result.status])
    if effect:
        console.say(f"        {effect}")
    if result.fix and result.status != "ok":
        console.say(f"        -> {result.fix}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
