"""Mermaid as far as this project's pages use it: blocks found in Markdown, and read line by line.

A page with a line that is not read here would show an error instead of a diagram.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_BLOCK: Final = re.compile(r"^```mermaid\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ID: Final = r"[A-Za-z_]\w*"
_SHAPE: Final = r'(?:\["[^"]*"\]|\(\["[^"]*"\]\))'
_NODE: Final = re.compile(rf"({_ID})({_SHAPE})?$")
_ARROW: Final = re.compile(r'\s+(?:-- "[^"]*" -->|-\. "[^"]*" \.->|-->|-\.->)\s+')
_SUBGRAPH: Final = re.compile(rf'subgraph ({_ID})(?:\["[^"]*"\])?$')
_STATE: Final = rf"(?:{_ID}|\[\*\])"
_TRANSITION: Final = re.compile(rf"({_STATE}) --> ({_STATE})(?: : ([^:;]+))?$")


@dataclass(slots=True)
class Diagram:
    """One diagram.

    Attributes:
        kind: ``flowchart`` or ``stateDiagram-v2``.
        labels: text of the nodes that have any, by id.
        edges: (from, to, label or "") in order.
    """

    kind: str
    labels: dict[str, str] = field(default_factory=dict)
    edges: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """Ids of all nodes or states that an edge touches."""
        return {name for edge in self.edges for name in edge[:2]} - {"[*]"}


def diagrams(markdown: str) -> Iterator[Diagram]:
    """Read every diagram of a page.

    Raises:
        ValueError: a line is not understood; it names the line.
    """
    for text in _BLOCK.findall(markdown):
        head, *lines = (line.strip() for line in text.splitlines() if line.strip())
        kind, _, direction = head.partition(" ")
        if kind == "flowchart" and direction in {"TB", "TD", "LR", "RL", "BT"}:
            yield _flowchart(lines)
        elif head == "stateDiagram-v2":
            yield _states(lines)
        else:
            raise ValueError(f"not a diagram that is read here: {head!r}")


def _flowchart(lines: list[str]) -> Diagram:
    found, depth = Diagram("flowchart"), 0
    for line in lines:
        if _SUBGRAPH.match(line):
            depth += 1
        elif line == "end":
            depth -= 1
        else:
            _chain(found, line)
        if depth < 0:
            raise ValueError("an end without its subgraph")
    if depth:
        raise ValueError("a subgraph without its end")
    without = found.names - found.labels.keys()
    if without:
        raise ValueError(f"nodes without a label, perhaps misspelt: {sorted(without)}")
    return found


def _chain(found: Diagram, line: str) -> None:
    """Read a node, or nodes with arrows between them."""
    nodes = []
    for text in _ARROW.split(line):
        node = _NODE.match(text)
        if node is None or node[1] == "end":
            raise ValueError(f"not understood: {line!r}")
        if node[2]:
            if node[1] in found.labels:
                raise ValueError(f"{node[1]} has two labels")
            found.labels[node[1]] = node[2].strip('[]()"')
        nodes.append(node[1])
    arrows = [re.search(r'"([^"]*)"', arrow) for arrow in _ARROW.findall(line)]
    for start, end, arrow in zip(nodes, nodes[1:], arrows, strict=False):
        found.edges.append((start, end, arrow[1] if arrow else ""))


def _states(lines: list[str]) -> Diagram:
    found = Diagram("stateDiagram-v2")
    for line in lines:
        transition = _TRANSITION.match(line)
        if transition is None:
            raise ValueError(f"not understood: {line!r}")
        found.edges.append((transition[1], transition[2], transition[3] or ""))
    return found
