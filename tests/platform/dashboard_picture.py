"""Draws what the dashboard's queries return in a real run: ``python -m tests.platform.dashboard_picture``.

It is no screenshot: Grafana is not run here. Panels stand where the dashboard has them, their data are
Prometheus' answers to their own queries, and matplotlib (dependency group ``bench``) draws them.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.platform.dashboard import RANGE, dashboard, filled
from tests.platform.watched import Prometheus, Watched, watched
from tests.support.processes import ROOT

TARGET: Final = ROOT / ".github" / "dashboard.webp"
#: How long calls are held, in seconds, and the distance of two points.
LASTS_S: Final = 180
STEP_S: Final = 5
#: Most series of a panel that the legend names.
NAMED: Final = 6
_UNIT: Final = {"s": " s", "percentunit": " %", "bytes": "B", "currencyUSD": " $"}
_NOTE: Final = (
    "The dashboard's queries, answered by Prometheus in a run of the tests, drawn with matplotlib."
    " Not Grafana's screen."
)
_CALLS: Final = (
    ("--calls", "1"),
    ("--calls", "3"),
    ("--minute",),
    ("--calls", "2"),
    ("--failing",),
)


def talk(platform: Watched) -> tuple[float, float]:
    """Hold calls for a while, a new process every few seconds; from when and until when."""
    began = time.time()
    number = 0
    while time.time() - began < LASTS_S:
        kind = _CALLS[min(number % 7, 4)] if number % 7 != 4 else ("--calls", "4")
        app = platform.start(*kind, OTEL_METRIC_EXPORT_INTERVAL="1000")
        app.talked()
        app.flushed()
        time.sleep(3)
        number += 1
    return began, time.time()


def _legend(written: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match.group(1), ""), written).strip()


def _number(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "currencyUSD":
        return f"${value:.2f}"
    return f"{value:.3g}{_UNIT.get(unit, '')}"


class Picture:
    """Draws panels.

    Args:
        prometheus: answers their queries.
        began, ended: the time range, epoch seconds.
    """

    def __init__(self, prometheus: Prometheus, began: float, ended: float) -> None:
        self._prometheus = prometheus
        self._began, self._ended = began, ended

    def draw(self, panel: dict[str, Any], axes: Any) -> None:
        """Draw one panel into its axes."""
        axes.set_title(panel["title"], fontsize=8, loc="left", fontweight="bold")
        axes.tick_params(labelsize=6)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        unit = panel["fieldConfig"]["defaults"].get("unit", "s")
        series = [
            (_legend(target["legendFormat"], one["metric"]), one)
            for target in panel["targets"]
            for one in self._asked(target)
        ]
        {"stat": self._stat, "bargauge": self._bars, "heatmap": self._heat}.get(
            panel["type"], self._lines
        )(axes, series, unit, panel)

    def _asked(self, target: dict[str, Any]) -> list[dict[str, Any]]:
        expr = filled(target["expr"])
        if target["instant"]:
            return list(self._prometheus.get("query", query=expr, time=self._ended)["result"])
        return list(
            self._prometheus.get(
                "query_range", query=expr, start=self._began, end=self._ended, step=STEP_S
            )["result"]
        )

    def _points(self, one: dict[str, Any]) -> tuple[list[float], list[float]]:
        points = [(t - self._began, float(value)) for t, value in one["values"]]
        return [t for t, _ in points], [value for _, value in points]

    def _stat(self, axes: Any, series: Sequence[Any], unit: str, _: Any) -> None:
        axes.axis("off")
        text = _number(float(series[0][1]["value"][1]), unit) if series else "no data"
        axes.text(0.5, 0.4, text, fontsize=17, ha="center", va="center", color="tab:blue")

    def _bars(self, axes: Any, series: Sequence[Any], _unit: str, _: Any) -> None:
        found = [(name, float(one["value"][1])) for name, one in series][::-1]
        axes.barh(range(len(found)), [value for _, value in found], height=0.7, alpha=0.5)
        axes.set_yticks([])
        for place, (name, _) in enumerate(found):
            axes.text(0, place, f" {name}", fontsize=6, va="center")

    def _heat(self, axes: Any, series: Sequence[Any], _unit: str, _: Any) -> None:
        import numpy as np

        rows = sorted(series, key=lambda one: float(one[0].replace("+Inf", "inf")))
        sums = np.array([_on_grid(one, self._began, self._ended) for _, one in rows])
        counts = np.clip(np.diff(sums, axis=0, prepend=0), 0, None)
        axes.imshow(counts, aspect="auto", origin="lower", cmap="Blues")
        axes.set_yticks(range(0, len(rows), 3), [name for name, _ in rows][::3])
        axes.set_xticks([])

    def _lines(self, axes: Any, series: Sequence[Any], unit: str, panel: dict[str, Any]) -> None:
        stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
        if stacked:
            import numpy as np

            grid = [_on_grid(one, self._began, self._ended) for _, one in series]
            times = np.arange(len(grid[0])) * STEP_S
            positive = [np.clip(row, 0, None) for row in grid]
            axes.stackplot(times, positive, labels=[name for name, _ in series], alpha=0.6)
            axes.stackplot(times, [np.clip(row, None, 0) for row in grid], alpha=0.6)
        else:
            for name, one in series:
                axes.plot(*self._points(one), linewidth=1, label=name)
        if unit == "percentunit":
            axes.yaxis.set_major_formatter(lambda value, _: f"{value * 100:.3g} %")
        elif unit == "bytes":
            axes.yaxis.set_major_formatter(lambda value, _: f"{value / 2**20:.3g} MiB")
        elif unit in _UNIT:
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}{_UNIT[unit]}")
        axes.set_xlim(0, self._ended - self._began)
        axes.set_xticks(range(0, LASTS_S + 1, 60), [f"{m} min" for m in range(LASTS_S // 60 + 1)])
        handles, named = axes.get_legend_handles_labels()
        if handles:
            below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.1), "ncol": 3}
            axes.legend(handles[:NAMED], named[:NAMED], fontsize=5.5, frameon=False, **below)


def _on_grid(one: dict[str, Any], began: float, ended: float) -> Any:
    """The values at every step; 0 where there is none."""
    import numpy as np

    found = np.zeros(int((ended - began) // STEP_S) + 1)
    for t, value in one["values"]:
        found[min(round((t - began) / STEP_S), len(found) - 1)] = float(value)
    return np.nan_to_num(found)


def picture(platform: Watched, target: Path) -> None:
    """Hold calls and draw the dashboard."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    began, ended = talk(platform)
    RANGE.update({"__rate_interval": "45s", "__range": f"{LASTS_S}s"})
    drawn, panels = Picture(platform.prometheus, began, ended), dashboard()["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = pyplot.figure(figsize=(12, height * 0.24 + 0.3))
    figure.text(0.012, 0.997, _NOTE, fontsize=8, va="top", style="italic", color="#555")
    top = 0.99
    for panel in panels:
        place = panel["gridPos"]
        x, width = place["x"] / 24, place["w"] / 24
        y, tall = top * (1 - (place["y"] + place["h"]) / height), top * place["h"] / height
        if panel["type"] == "row":
            figure.text(x + 0.012, y + tall / 2, panel["title"], fontsize=10, va="center")
            continue
        axes = figure.add_axes(
            (x + 0.045 * min(1, width * 3), y + 0.24 * tall, width - 0.055, tall * 0.6)
        )
        drawn.draw(panel, axes)
    with tempfile.NamedTemporaryFile(suffix=".png") as made:
        figure.savefig(made.name, dpi=100)
        Image.open(made.name).convert("RGB").save(target, quality=60, method=6)


def main() -> None:
    """Draw into the file that the page shows, or into the one that is named."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    with tempfile.TemporaryDirectory() as folder, watched(Path(folder) / "watched") as platform:
        picture(platform, target)
    print(f"{target}: {target.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
