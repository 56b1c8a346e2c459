"""Whether what an expression names exists."""

from __future__ import annotations

from collections.abc import Mapping

from tests.platform.promql import used
from tests.support.prometheus_names import PROCESS


def unknown(expr: str, known: Mapping[str, frozenset[str]]) -> set[str]:
    """Return the metrics and labels of an expression that no series has.

    Args:
        expr: without variables.
        known: labels of each series by its name.
    """
    found, here = used(expr), set[str]()
    missing = {name for name, _ in found.selectors if name not in known}
    for name, labels in found.selectors:
        here |= known.get(name, frozenset())
        missing |= {
            f"{name}{{{label}}}" for label in labels - known.get(name, frozenset()) if _own(label)
        }
    return missing | {label for label in found.groupings - here if _own(label)}


def _own(label: str) -> bool:
    return PROCESS.fullmatch(label) is None
