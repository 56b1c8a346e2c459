"""Who imports whom in the package, read from its source: lazy and type-only imports included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = "otel_realtime"


def modules() -> dict[str, Path]:
    """Every module of the package: dotted name -> file."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def part_of(module: str) -> str:
    """The folder or top-level module that a module belongs to; ``core`` has two."""
    names = module.split(".")
    if len(names) == 1:
        return PACKAGE
    return ".".join(names[1:3]) if names[1] == "core" and len(names) > 2 else names[1]


def imports() -> Iterator[tuple[str, str]]:
    """Every import between modules of the package: (who, whom)."""
    known = modules()
    for module, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                target = name if name in known else name.rpartition(".")[0]
                if target in known:
                    yield module, target
