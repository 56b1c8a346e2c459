"""What the app says of its conversations: blocks that nest, and settings that hold for one of them."""

from __future__ import annotations

import asyncio
import contextvars
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otel_realtime import diagnostics
from otel_realtime.conversation.options import Options, current_options, options_of, using
from otel_realtime.settings import Settings
from tests.support.provoked import provoked

FIELDS = ("thread_id", "settings", "record_audio", "capture_content", "tracer_provider")


def test_what_an_inner_block_says_wins() -> None:
    """Field by field, False and empty text included."""
    provider, settings = TracerProvider(shutdown_on_exit=False), Settings()
    outer = Options(
        thread_id="outer",
        settings=Settings(),
        record_audio=True,
        capture_content=True,
        tracer_provider=TracerProvider(shutdown_on_exit=False),
    )
    inner = Options(
        thread_id="",
        settings=settings,
        record_audio=False,
        capture_content=False,
        tracer_provider=provider,
    )
    assert inner == inner.over(outer)
    assert ("", settings, False, False, provider) == tuple(
        getattr(inner.over(outer), name) for name in FIELDS
    )


def test_what_an_inner_block_leaves_open_is_the_outer_ones() -> None:
    """Nothing said over nothing said is nothing said."""
    outer = Options(
        thread_id="outer",
        metadata={"a": 1},
        tags=("x",),
        settings=Settings(),
        record_audio=False,
        capture_content=True,
        tracer_provider=TracerProvider(shutdown_on_exit=False),
    )
    assert outer == Options().over(outer)
    assert Options() == Options().over(Options())


def test_metadata_and_tags_add_up() -> None:
    """Inner values win, a tag stands once and where it stood first."""
    outer = Options(metadata={"plan": "gold", "city": "Bern"}, tags=("voice", "test"))
    inner = Options(metadata={"city": "Rome", "turn": 3}, tags=("test", "night"))
    found = inner.over(outer)
    assert {"plan": "gold", "city": "Rome", "turn": 3} == found.metadata
    assert ("voice", "test", "night") == found.tags
    assert {"plan": "gold", "city": "Bern"} == outer.metadata


def test_blocks_nest_and_end() -> None:
    """After each block holds what held before it, also when it raised."""
    assert Options() == current_options()
    with using(thread_id="a", metadata={"x": 1}, tags="one", record_audio=False):
        outer = current_options()
        with using(thread_id="b", metadata={"y": 2}, tags=["two", "one"], record_audio=True):
            assert Options(
                thread_id="b", metadata={"x": 1, "y": 2}, tags=("one", "two"), record_audio=True
            ) == (current_options())
        assert outer is current_options()
        with pytest.raises(KeyError), using(capture_content=False):
            raise KeyError
        assert outer is current_options()
    assert Options() == current_options()


def test_blocks_of_tasks_stay_apart() -> None:
    """A task inherits what held where it was made, and changes it for nobody else."""

    async def call(thread: str) -> tuple[str | None, dict[str, Any]]:
        with using(thread_id=thread):
            await asyncio.sleep(0)
            return current_options().thread_id, dict(current_options().metadata)

    async def app() -> list[tuple[str | None, dict[str, Any]]]:
        with using(metadata={"app": 1}):
            return await asyncio.gather(*(call(name) for name in "abc"))

    assert [(name, {"app": 1}) for name in "abc"] == asyncio.run(app())


def test_a_block_may_be_left_in_another_context() -> None:
    """A web framework may run the two halves of a generator in two threads; the app sees nothing."""
    block = using(thread_id="a")
    contextvars.copy_context().run(block.__enter__)
    contextvars.copy_context().run(block.__exit__, None, None, None)
    assert Options() == current_options()


def test_the_apps_arguments_are_copied() -> None:
    """What it changes afterwards changes nothing here."""
    metadata, tags = {"a": 1}, ["x"]
    found = options_of(metadata=metadata, tags=tags)
    metadata["a"], tags[0] = 2, "y"
    assert ({"a": 1}, ("x",)) == (found.metadata, found.tags)
    assert ("xy",) == options_of(metadata=None, tags="xy").tags


class _Broken:
    def __iter__(self) -> Any:
        raise RuntimeError("no members")

    keys = __len__ = __iter__


@pytest.mark.parametrize(
    ("metadata", "tags", "expected", "faults"),
    [
        (_Broken(), ["x"], Options(thread_id="t", tags=("x",)), ["metadata"]),
        ({"a": 1}, _Broken(), Options(thread_id="t", metadata={"a": 1}), ["tags"]),
        (_Broken(), _Broken(), Options(thread_id="t"), ["metadata", "tags"]),
    ],
    ids=["metadata", "tags", "both"],
)
def test_what_cannot_be_read_costs_nothing_else(
    monkeypatch: pytest.MonkeyPatch, metadata: Any, tags: Any, expected: Options, faults: list[str]
) -> None:
    """It is left out and reported."""
    monkeypatch.setattr(diagnostics, "RAISE", False)
    assert expected == options_of(metadata=metadata, tags=tags, thread_id="t")
    provoked(*(f"{what}: RuntimeError" for what in faults))


def test_threads_that_cannot_be_compared_cost_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """As arrays of NumPy: the block runs, and connections in it are not joined."""

    class Thread(str):
        def __ne__(self, other: object) -> bool:
            raise ValueError("ambiguous")

        __hash__ = str.__hash__

    monkeypatch.setattr(diagnostics, "RAISE", False)
    with using(thread_id="a"):
        outer = current_options()
        with using(thread_id=Thread("b")):
            assert ("b", outer.thread_block) == (
                current_options().thread_id,
                current_options().thread_block,
            )
    provoked("conversation.options._has_own_thread: ValueError")


def test_the_process_settings_hold_where_nothing_is_said() -> None:
    """The very same object: nothing is made for a conversation."""
    process = Settings(record_audio=False)
    assert process is Options().effective_settings(process)


def test_settings_of_a_conversation_replace_those_of_the_process(tmp_path: Path) -> None:
    """All but the fields that hold for the whole process."""
    process = Settings(state_max_mb=7.0, record_audio=False, span_limit=10)
    own = Settings(state_dir=tmp_path, state_max_mb=8.0)
    found = Options(settings=own).effective_settings(process)
    assert (tmp_path, 24_000, True, 7.0) == (
        found.state_dir,
        found.span_limit,
        found.record_audio,
        found.state_max_mb,
    )


@pytest.mark.parametrize("value", [True, False])
def test_what_a_block_says_overrides_any_settings(value: bool) -> None:
    """Those of the conversation as well as those of the process."""
    others = Settings(record_audio=not value, capture_content=not value)
    for given in (Options(), Options(settings=others)):
        options = Options(record_audio=value, capture_content=value).over(given)
        found = options.effective_settings(others)
        assert (value, value) == (found.record_audio, found.capture_content)
