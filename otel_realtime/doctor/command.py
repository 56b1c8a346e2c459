"""``otel-realtime doctor``: runs the checks concurrently, and prints their findings."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from otel_realtime import console
from otel_realtime.diagnostics import overheard
from otel_realtime.doctor import report as printing
from otel_realtime.doctor.checks import CHECKS
from otel_realtime.doctor.live.command import Outcome, agrees, print_outcome, require_client
from otel_realtime.doctor.live.command import run as run_live
from otel_realtime.doctor.masking import Mask
from otel_realtime.doctor.model import Delivery, Report, Surroundings
from otel_realtime.doctor.runner import run_checks
from otel_realtime.doctor.topology import Topology
from otel_realtime.doctor.variables import known
from otel_realtime.errors import ConfigError
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.settings import Settings

#: Share of the total time that a check has, so that even the slowest one can report its findings.
_SHARE: Final = 0.9
#: Shortest and longest time of a check, in seconds: no client accepts 0, and not every one accepts years.
_LEAST_S, _MOST_S = 0.1, 600.0


def run(
    *,
    timeout_s: float = 15.0,
    as_json: bool = False,
    live: bool = False,
    yes: bool = False,
    live_timeout_s: float = 90.0,
    attachment_mb: float = 0.0,
) -> int:
    """Report what would happen to a call that is started here.

    Args:
        timeout_s: time for all checks, in seconds.
        as_json: print JSON.
        live: write a trace to LangSmith, read it back, and answer what its documentation leaves open.
        yes: do not ask for permission first.
        live_timeout_s: longest time for writing that trace and reading it back, in seconds.
        attachment_mb: size of the recording that is attached to it, in MB; 0: a second of sound.

    Returns:
        The exit code: 0 if nothing would be lost; 1 if something would be, or if a question of ``live``
        that a call depends on was not answered with yes.

    Raises:
        ConfigError: ``live`` is not possible here.
        ModuleNotFoundError: LangSmith's client is not installed, which ``live`` needs.
    """
    with _quiet():
        here = surroundings(timeout_s)
        if live:
            _check_live(here, yes=yes)
        report = examine(here, timeout_s)
        if not as_json:
            printing.print_report(report)
        outcome = _live(here, yes, live_timeout_s, attachment_mb) if live else None
        if as_json:
            answers = None if outcome is None else outcome.as_json(here.mask)
            console.say_json(printing.as_json(report, answers))
        else:
            if outcome is not None:
                print_outcome(outcome, here.mask)
            printing.print_verdict(report)
    incomplete = outcome is not None and not outcome.complete
    return 1 if report.failed or incomplete else 0


def surroundings(timeout_s: float) -> Surroundings:
    """Read the input of all checks.

    Args:
        timeout_s: time for all checks, in seconds.
    """
    with overheard() as heard:
        settings, config = Settings(), LangSmithConfig.from_env()
    return Surroundings(
        env=dict(os.environ),
        settings=settings,
        config=config,
        heard=tuple(heard),
        mask=Mask(os.environ, known()),
        timeout_s=min(max(timeout_s * _SHARE, _LEAST_S), _MOST_S),
    )


def examine(here: Surroundings, timeout_s: float) -> Report:
    """Run all checks.

    Args:
        here: the input of the checks.
        timeout_s: time for all of them, in seconds.
    """
    topology, report = Topology(here), Report()
    for check, results in zip(CHECKS, run_checks(CHECKS, here, timeout_s), strict=True):
        report.groups.setdefault(check.group, []).extend(results)
    report.deliveries = [
        Delivery(what=row.what, by=row.by, to=here.mask(row.to)) for row in topology.deliveries()
    ]
    report.verdict = here.mask(topology.verdict(report.failed))
    return report


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep log lines of libraries off standard error; the checks report those that matter."""
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)


# -- live ------------------------------------------------------------------------------------------


def _check_live(here: Surroundings, *, yes: bool) -> None:
    if not here.config.api_key:
        raise ConfigError("--live writes to LangSmith and needs a key: set LANGSMITH_API_KEY")
    if not yes and not (sys.stdin is not None and sys.stdin.isatty()):
        raise ConfigError(
            "--live writes a trace to LangSmith and asks before, and nobody can answer here: add --yes"
        )
    require_client()


def _live(here: Surroundings, yes: bool, timeout_s: float, attachment_mb: float) -> Outcome | None:
    if not (yes or agrees(here, attachment_mb)):
        console.tell("nothing was written", error=True)
        return None
    return run_live(here, timeout_s=timeout_s, attachment_mb=attachment_mb)
