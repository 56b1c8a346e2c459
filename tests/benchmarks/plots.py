"""Draws the figures of a run: ``.github/bench-frames.svg``, ``bench-process.svg``, ``bench-growth.svg``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.client import BARE, LANGSMITH, OURS, SILENT, UNSAMPLED
from tests.benchmarks.numbers import Figure

_COLORS = {OURS: "#2f6fdf", SILENT: "#9cc0f7", UNSAMPLED: "#b9c4d3", LANGSMITH: "#e0a13c"}


def draw(figures: Sequence[Figure], folder: Path) -> None:
    """Write the plots into a folder."""
    import matplotlib

    matplotlib.use("svg")
    # The same figures give the same file: neither a time nor random ids.
    matplotlib.rcParams["svg.hashsalt"] = "bench"
    for name, title, chosen in (
        ("frames", "added CPU on the app's thread, us", _frames(figures)),
        ("process", "CPU of the whole process, ms per call-minute", _process(figures)),
        ("growth", "CPU per event by length of the call, us on the app's thread", _growth(figures)),
    ):
        if chosen:
            _bars(folder / f"bench-{name}.svg", title, chosen)


def _frames(figures: Sequence[Figure]) -> list[Figure]:
    return [
        each
        for each in figures
        if each.part == "frames"
        and each.who in _COLORS
        and each.what.startswith("added per")
        and any(word in each.what for word in ("audio.delta", "microphone", "all kinds"))
    ]


def _process(figures: Sequence[Figure]) -> list[Figure]:
    unit = "ms per call-minute"
    return [
        each
        for each in figures
        if each.part == "process" and each.unit == unit and each.who != BARE
    ]


def _growth(figures: Sequence[Figure]) -> list[Figure]:
    return [each for each in figures if each.part == "growth" and each.who == "app's thread"]


def _bars(path: Path, title: str, figures: Sequence[Figure]) -> None:
    from matplotlib import pyplot

    shown = list(reversed(figures))
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.3 * len(shown)))
    names = [f"{each.what.strip().removeprefix('added per ')} ({each.who})" for each in shown]
    places = range(len(shown))
    axes.barh(
        places,
        [max(each.least, 0.0) for each in shown],
        xerr=[each.spread / 2 for each in shown],
        color=[_COLORS.get(each.who, "#2f6fdf") for each in shown],
        error_kw={"ecolor": "#888888"},
    )
    axes.set_yticks(places, names)
    for place, each in enumerate(shown):
        after = max(each.least, 0.0) + each.spread / 2
        axes.text(after, place, f" {each.least:.1f}", va="center", fontsize=8)
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
