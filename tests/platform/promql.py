"""Which metrics and labels a PromQL expression names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<number>\d[\w.]*(?:(?<=e)[+-]?\d+)?)
      | (?P<name>[A-Za-z_:][\w:]*)
      | (?P<range>\[[^\]]*\])
      | (?P<sign>!=|=~|!~|==|>=|<=|[-+*/%^(){}=<>,@])
      | (?P<space>\s+)
      | (?P<odd>.)""",
    re.VERBOSE,
)
_GROUPING: Final = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS: Final = _GROUPING | {"and", "or", "unless", "offset", "bool"}


@dataclass
class Used:
    """What an expression names.

    Attributes:
        selectors: each metric, with the labels of its matchers.
        groupings: labels that it groups or matches by.
    """

    selectors: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    groupings: set[str] = field(default_factory=set)


def used(expr: str) -> Used:
    """Return what an expression names.

    Raises:
        AssertionError: it has a character that no expression has, such as a variable's ``$``.
    """
    tokens = list(_tokens(expr))
    found, at = Used(), 0
    while at < len(tokens):
        kind, text = tokens[at]
        following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        if kind == "name" and text in _GROUPING:
            end = _closing(tokens, at + 1) if following == "(" else at
            found.groupings |= {word for sort, word in tokens[at + 1 : end] if sort == "name"}
            at = end
        elif kind == "name" and text not in _WORDS and following not in ("(", "by", "without"):
            labels: frozenset[str] = frozenset()
            if following == "{":
                end = _closing(tokens, at + 1)
                labels, _ = _matchers(tokens[at + 2 : end])
                at = end
            found.selectors.append((text, labels))
        elif text == "{":
            end = _closing(tokens, at)
            labels, named = _matchers(tokens[at + 1 : end])
            found.selectors += [(name, labels) for name in named]
            at = end
        at += 1
    return found


def _tokens(expr: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(expr):
        kind = match.lastgroup or "odd"
        assert kind != "odd", f"{match.group()!r} in {expr!r}"
        if kind not in ("space", "number"):
            yield kind, match.group()


def _closing(tokens: list[tuple[str, str]], at: int) -> int:
    """The place of the bracket that closes the one at a place."""
    closing = {"(": ")", "{": "}"}[tokens[at][1]]
    return next(place for place in range(at, len(tokens)) if tokens[place][1] == closing)


def _matchers(tokens: list[tuple[str, str]]) -> tuple[frozenset[str], list[str]]:
    """The labels of matchers, and the metrics that ``__name__`` admits."""
    labels = frozenset(text for kind, text in tokens if kind == "name") - {"__name__"}
    words = [text for _, text in tokens]
    named: list[str] = []
    if "__name__" in words:
        named = list(_admitted(words[words.index("__name__") + 2][1:-1]))
    return labels, named


def _admitted(pattern: str) -> Iterator[str]:
    """The metric of a pattern ``name(_total)?``: the suffix depends on the Collector's version."""
    match = re.fullmatch(r"(\w+)(\(_\w+\)\?)?", pattern)
    assert match, pattern
    yield match.group(1)
