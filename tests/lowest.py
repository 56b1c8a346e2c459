"""Constraints that install the lowest versions which the project's own bounds admit.

``python -m tests.lowest`` prints them; ``make test-lowest`` installs with them and runs what touches
each library. What only the tests need is as new as it comes, but for the clients that are traced.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[1] / "pyproject.toml"

#: Extras that are installed there; the others bring what no test can run without hardware.
EXTRAS: Final = ("audio-formats", "fast", "sandbox", "langsmith", "demo")
#: Clients that are traced, though the package does not need them; their bounds are the test group's.
CLIENTS: Final = ("aiohttp", "websocket-client", "httpx-ws")


def constraints(text: str) -> list[str]:
    """Return ``name==version`` for each bound; no TOML parser, because Python 3.10 has none.

    Args:
        text: a ``pyproject.toml``.
    """
    required = _listed(text, "dependencies")
    for extra in EXTRAS:
        required += _listed(text, extra)
    required += [line for line in _listed(text, "test") if line.startswith(CLIENTS)]
    lowest: dict[str, str] = {}
    for requirement in required:
        found = re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)", requirement)
        if found is not None:
            name, version = found.groups()
            # An extra may ask for more than the package.
            lowest[name] = max(version, lowest.get(name, ""), key=_parts)
    return [f"{name}=={version}" for name, version in sorted(lowest.items())]


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _listed(text: str, name: str) -> list[str]:
    """Return the texts of one list of the file."""
    (block,) = re.findall(rf"^{name} = \[(.*?)\]$", text, re.MULTILINE | re.DOTALL)
    return re.findall(r'"([^"]+)"', block)


if __name__ == "__main__":
    print("\n".join(constraints(PROJECT.read_text())))
