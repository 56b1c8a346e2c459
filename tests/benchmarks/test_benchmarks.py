"""The benchmarks run; what they measure is looked at by people, and by ``bench-check``."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.attributes import BoundedAttributes

from tests.benchmarks import background, bench_upload, growth, plots, upstream
from tests.benchmarks.client import LANGSMITH, OURS, SILENT, UNSAMPLED, NothingTraced, traced
from tests.benchmarks.numbers import Figure, added, figure
from tests.benchmarks.server import servers

REPOSITORY = Path(__file__).parents[2]


def test_a_part_prints_its_table_and_writes_its_figures(tmp_path: Path) -> None:
    """One round of what a frame costs: ours with and without audio, and LangSmith's wrapper."""
    target = tmp_path / "figures.json"
    command = ["-m", "tests.benchmarks", "frames", "--rounds", "1", "--json", str(target)]
    run = subprocess.run(
        [sys.executable, *command],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert 0 == run.returncode, run.stderr
    figures = json.loads(target.read_text())["figures"]
    for kind in ("response.output_audio.delta", "microphone frame", "event, all kinds"):
        who = {each["who"] for each in figures if each["what"] == f"added per {kind}"}
        assert {OURS, SILENT, UNSAMPLED, f"{OURS} (parsed)", LANGSMITH} == who
    assert all(each["what"] in run.stdout for each in figures)
    spans = [each for each in figures if each["what"] == "a bare span with 12 attributes"]
    assert [True] == [each["least"] > 0 for each in spans]


def test_growth_measures_each_story_short_and_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the app's thread, and until it is delivered."""
    monkeypatch.setattr(growth, "SHORT", 3)
    monkeypatch.setattr(growth, "LONG", 6)
    found = growth.measure(1)
    assert 4 * len(growth.STORIES) == len(found)
    assert all(each.least > 0 for each in found)


def test_a_patched_sdk_gives_spans_the_attributes_that_it_gives_them() -> None:
    """Else what an upstream change would bring is a change of what it does."""
    plain = {"text": "x", "number": 1, "part": 0.5, "flag": True}
    odd = {**plain, "list": [1, 2], "object": object(), "": "no name"}
    for limit, given in itertools.product((None, 3, 128), (plain, odd, {})):
        found = []
        for names in ([], list(upstream.CHANGES)):
            with upstream.patched(names):
                attributes = BoundedAttributes(limit, given, immutable=False)
                attributes._set_items({"text": "y", "more": 2})
            values = {name: value for name, value in attributes.items() if name != "object"}
            found.append((values, list(attributes), attributes.dropped))
        assert found[0] == found[1]


def test_import_and_upload_are_measured() -> None:
    """In a process, and in threads, of their own."""
    assert 0 < background.importing() < 2_000
    assert 0 < bench_upload.cpu_per_minute(1) < 2_000


def test_a_tracer_that_traced_nothing_fails_the_run() -> None:
    """Figures of nothing would be the best ones."""
    with servers() as where, pytest.raises(NothingTraced, match="0 spans"), traced(OURS, where):
        pass


def test_what_is_added_is_the_difference_of_minima() -> None:
    """And its median and spread are those of the rounds."""
    found = added("frames", "a frame", OURS, "us", [5.0, 7.0, 9.0], [1.0, 2.0, 3.0])
    assert (4.0, 5.0, 1.0) == (found.least, found.median, found.spread)
    alone = figure("frames", "a frame", OURS, "us", [3.0, 1.0])
    assert (1.0, 2.0, 2.0) == (alone.least, alone.median, alone.spread)


def test_the_plots_are_the_same_each_time(tmp_path: Path) -> None:
    """Committed files change with the figures only."""
    pytest.importorskip("matplotlib")
    figures = [
        Figure("frames", "added per event, all kinds", who, "us", 50.0, 51.0, 2.0)
        for who in (OURS, LANGSMITH)
    ]
    drawn = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        plots.draw(figures, tmp_path / name)
        drawn.append((tmp_path / name / "bench-frames.svg").read_bytes())
    assert drawn[0] == drawn[1]
