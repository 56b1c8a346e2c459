"""What the app says of the conversations it opens: ``using(...)``, ``conversation(...)``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from otel_realtime import diagnostics
from otel_realtime.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the app asked for; None: what holds for the whole process."""

    thread_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    settings: Settings | None = None
    record_audio: bool | None = None
    capture_content: bool | None = None
    tracer_provider: TracerProvider | None = None

    def over(self, outer: Options) -> Options:
        """Return these options on top of an outer block's."""
        return Options(
            thread_id=_first(self.thread_id, outer.thread_id),
            metadata={**outer.metadata, **self.metadata},
            tags=(*outer.tags, *(tag for tag in self.tags if tag not in outer.tags)),
            settings=_first(self.settings, outer.settings),
            record_audio=_first(self.record_audio, outer.record_audio),
            capture_content=_first(self.capture_content, outer.capture_content),
            tracer_provider=_first(self.tracer_provider, outer.tracer_provider),
        )

    def effective_settings(self, process: Settings) -> Settings:
        """Return the settings of a conversation that opens now.

        Args:
            process: the settings of the process.
        """
        settings = process if self.settings is None else self.settings.within(process)
        if self.record_audio is not None:
            settings = replace(settings, record_audio=self.record_audio)
        if self.capture_content is not None:
            settings = replace(settings, capture_content=self.capture_content)
        return settings


def _first(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def options_of(
    *,
    metadata: Mapping[str, Any] | None,
    tags: Iterable[str],
    **given: Any,
) -> Options:
    """Take the app's arguments as they are; what cannot be read is left out and reported."""
    options = Options(**given)
    try:
        options = replace(options, metadata=dict(metadata or {}))
    except Exception as error:  # noqa: BLE001 - a mapping of the app's
        diagnostics.fault("metadata", error)
    try:
        options = replace(options, tags=(tags,) if isinstance(tags, str) else tuple(tags))
    except Exception as error:  # noqa: BLE001 - an iterator of the app's
        diagnostics.fault("tags", error)
    return options


_NO_OPTIONS: Final = Options()
_using: ContextVar[Options] = ContextVar("otel_realtime_using", default=_NO_OPTIONS)


def current_options() -> Options:
    """Return what ``using(...)`` blocks around this code say."""
    return _using.get()


@contextmanager
def using(
    *,
    thread_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    tags: Iterable[str] = (),
    record_audio: bool | None = None,
    capture_content: bool | None = None,
) -> Iterator[None]:
    """Apply to every conversation whose connection is opened inside the block.

    For apps that never hold the connection themselves. Blocks nest: inner values win, metadata
    and tags add up.

    Args:
        thread_id: the app's id of the thread.
        metadata: goes on the root.
        tags: go on the root.
        record_audio: overrides ``Settings.record_audio``.
        capture_content: overrides ``Settings.capture_content``.

    Added in 0.1.0.
    """
    options = options_of(
        thread_id=thread_id,
        metadata=metadata,
        tags=tags,
        record_audio=record_audio,
        capture_content=capture_content,
    )
    token = _using.set(options.over(_using.get()))
    try:
        yield
    finally:
        try:
            _using.reset(token)
        except ValueError:  # the block is left in another context than it was entered in
            pass
