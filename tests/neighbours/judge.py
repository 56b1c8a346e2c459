"""What is asked of the runs of a neighbour: ours complete, theirs untouched, nothing of our own traced."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

Run = Mapping[str, Any]

OURS = "otel_realtime"
APP = "app"
_TIMING = re.compile(r"_ms$|_s$|_ms_|latency\.|interrupt|heard")


def _ours(run: Run) -> list[Mapping[str, Any]]:
    return [span for span in run["spans"] if span["scope"] == OURS]


def _theirs(run: Run) -> list[Mapping[str, Any]]:
    return [span for span in run["spans"] if span["scope"] not in (OURS, APP)]


def _tree(run: Run) -> Counter[tuple[str, str | None]]:
    return Counter((span["name"], span["parent"]) for span in _ours(run))


def _attributes(run: Run) -> Counter[tuple[str, str]]:
    """What our spans have, apart from facts that depend on how fast the machine is just now."""
    return Counter(
        (span["name"], key)
        for span in _ours(run)
        for key in span["tags"]
        if not _TIMING.search(key)
    )


def _names(run: Run) -> Counter[tuple[str, str]]:
    return Counter((span["scope"], span["name"]) for span in _theirs(run))


def problems(runs: Mapping[str, Run], destination: str) -> Iterator[str]:
    """Say what is wrong.

    Args:
        runs: what the app printed, by mode.
        destination: host and port that we deliver to.
    """
    for mode, run in runs.items():
        if run["faults"]:
            yield f"{mode}: faults of ours: {run['faults']}"
        if mode != "theirs" and not run["delivered"]:
            yield f"{mode}: not everything was delivered"
        if run["complaints"]:
            yield f"{mode}: said: {run['complaints']}"
        for span in _theirs(run):
            # LangSmith's runs tell their variables, the address among them.
            told = [text for key, text in span["tags"].items() if not key.endswith("_ENDPOINT")]
            if any(destination in text for text in told):
                yield f"{mode}: a delivery of ours is traced: {span['scope']} {span['name']}"
        traces = {span["trace"] for span in _ours(run)}
        if mode != "theirs" and len(traces) != 1:
            yield f"{mode}: {len(traces)} traces of ours instead of one"
    for mode in [mode for mode in runs if mode not in ("ours", "theirs")]:
        for what, of, alone in (
            ("our spans", _tree, "ours"),
            ("our attributes", _attributes, "ours"),
            ("their spans", _names, "theirs"),
        ):
            expected, found = of(runs[alone]), of(runs[mode])
            if expected != found:
                missing, more = dict(expected - found), dict(found - expected)
                yield f"{mode}: {what} differ from {alone}: missing {missing}, more {more}"
