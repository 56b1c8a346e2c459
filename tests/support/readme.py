"""The code of the README and of the pages that it leads to, to be run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (
    _ROOT / "README.md",
    *sorted((_ROOT / ".github" / "docs").glob("*.md")),
    *sorted((_ROOT / "collector").glob("*.md")),
    *sorted((_ROOT / "collector").glob("*/*.md")),
)
#: All pages, one after the other.
README: Final = "\n".join(page.read_text("utf-8") for page in PAGES)
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The README's code blocks of one language, in order."""
    return [text for name, text in _BLOCK.findall(README) if name == language]


def snippet(marker: str) -> str:
    """The one Python snippet that contains a text."""
    found = [text for text in blocks("python") if marker in text]
    assert len(found) == 1, f"{len(found)} snippets contain {marker!r}"
    return found[0]


def run(source: str) -> dict[str, Any]:
    """Execute a snippet as a module; returns its names."""
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(source, "README.md", "exec"), names)  # it is our own README
    return names


def anchors(markdown: str) -> set[str]:
    """The fragments by which GitHub links to a page's headings."""
    titles = re.findall(r"^#+ (.+)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
