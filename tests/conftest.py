"""What every test starts from, and the fixtures that more than one folder uses."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

from otel_realtime.sandbox import Sandbox
from tests.support.alone import turn
from tests.support.isolation import isolated, sandboxed
from tests.support.traces import Traces

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long runs to ``make soak``, and those with a whole platform to ``make test-platform``."""
    for marker, reason in (
        ("soak", "a long run: `make soak`"),
        ("platform", "needs a whole platform: `make test-platform`"),
    ):
        if marker not in config.option.markexpr:
            for item in items:
                if item.get_closest_marker(marker):
                    item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that measures time runs while no other does, however many workers there are."""
    with turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(autouse=True)
def process(tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """Every test begins and ends like a process of its own; sets variables for the test."""
    with isolated(tmp_path) as patch:
        yield patch


@pytest.fixture
def sandbox(process: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox that the variables name as this process's LangSmith."""
    with sandboxed(tmp_path, process) as running:
        yield running


@pytest.fixture
def traces() -> Traces:
    """The app's tracer provider, which keeps the spans that end."""
    return Traces()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; those of pytest are this user's alone."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
