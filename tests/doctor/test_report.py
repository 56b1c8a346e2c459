"""What is printed: groups, fixes under the problems, the verdict in the last line; and JSON."""

from __future__ import annotations

import pytest

from otel_realtime.doctor.model import Delivery, Report, Result
from otel_realtime.doctor.report import as_json, print_report, print_verdict

FINE = Result(id="a", title="A", status="ok", seen="there", effect="all is well", fix="none needed")
NOTE = Result(id="b", title="B", status="info", seen="there", effect="so it is")
BROKEN = Result(id="c", title="C", status="fail", seen="gone", effect="all is lost", fix="find it")
REPORT = Report(
    groups={"One": [FINE, NOTE], "Who delivers what": [], "Two": [BROKEN], "Empty": []},
    deliveries=[Delivery(what="root", by="us", to="there"), Delivery(what="x", by="-", to="-")],
    verdict="All would be lost.",
)


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Plain, because nobody looks: no escape codes."""
    print_report(REPORT)
    print_verdict(REPORT)
    expected = """\
One
  ok    A: there
        all is well
  info  B: there (so it is)

Who delivers what
  root  us  there
  x     -   -

Two
  FAIL  C: gone
        all is lost
        -> find it

1 problem, 0 warnings, 1 fine
All would be lost.
"""
    assert expected == capsys.readouterr().out


def test_for_scripts() -> None:
    """Everything that people are shown, and the ids."""
    value = as_json(REPORT, {"answers": []})
    assert {"version", "verdict", "deliveries", "results", "live"} == value.keys()
    assert {"what": "root", "by": "us", "to": "there"} == value["deliveries"][0]
    (broken,) = (one for one in value["results"] if one["status"] == "fail")
    assert {
        "group": "Two", "id": "c", "title": "C", "status": "fail", "seen": "gone",
        "effect": "all is lost", "fix": "find it",
    } == broken  # fmt: skip
    assert "live" not in as_json(REPORT)


def test_what_failed() -> None:
    """It makes the exit code 1."""
    assert [BROKEN] == REPORT.failed
