"""Options of ``using(...)`` and ``conversation(...)``, and how they combine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from otel_realtime import diagnostics
from otel_realtime.conversation.blocks import Block
from otel_realtime.diagnostics import walled
from otel_realtime.interrupts import let_through
from otel_realtime.settings import Settings
from otel_realtime.tap import Owner

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of conversations that the app opens; ``None`` means that the process's value applies.

    Attributes:
        thread_id: the app's id for the thread.
        metadata: metadata for the root.
        tags: tags for the root.
        settings: settings to use instead of the process's.
        record_audio: overrides ``Settings.record_audio``.
        capture_content: overrides ``Settings.capture_content``.
        tracer_provider: provider for the spans.
        join: ``False`` if no socket may continue the conversation of another one.
        thread_block: the ``using(...)`` block that set the thread; in it, one socket may follow another.
        block: the innermost ``using(...)`` block that these options come from.
        project: LangSmith project, or address of an agent, to use instead of the environment's.
    """

    thread_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    settings: Settings | None = None
    record_audio: bool | None = None
    capture_content: bool | None = None
    tracer_provider: TracerProvider | None = None
    join: bool | None = None
    # Not compared: each block has its own.
    thread_block: Owner | None = field(default=None, compare=False)
    block: Block | None = field(default=None, compare=False)
    project: str | None = None

    def over(self, outer: Options) -> Options:
        """Return these options combined with those of an outer block.

        Values of the inner block take precedence; metadata and tags of both are merged.
        """
        return Options(
            thread_id=_first(self.thread_id, outer.thread_id),
            metadata={**outer.metadata, **self.metadata},
            tags=(*outer.tags, *(tag for tag in self.tags if tag not in outer.tags)),
            settings=_first(self.settings, outer.settings),
            record_audio=_first(self.record_audio, outer.record_audio),
            capture_content=_first(self.capture_content, outer.capture_content),
            tracer_provider=_first(self.tracer_provider, outer.tracer_provider),
            join=_first(self.join, outer.join),
            thread_block=_first(self.thread_block, outer.thread_block),
            block=_first(self.block, outer.block),
            project=_first(self.project, outer.project),
        )

    def effective_settings(self, process: Settings) -> Settings:
        """Return the settings of a conversation that opens now.

        Args:
            process: settings of the process.
        """
        settings = process if self.settings is None else self.settings.within(process)
        if self.record_audio is not None:
            settings = replace(settings, record_audio=self.record_audio)
        if self.capture_content is not None:
            settings = replace(settings, capture_content=self.capture_content)
        return settings


def _first(value: T | None, otherwise: T | None) -> T | None:
    return otherwise if value is None else value


def options_of(
    *,
    metadata: Mapping[str, Any] | None,
    tags: Iterable[str],
    **others: Any,
) -> Options:
    """Return the app's arguments as options; metadata or tags that raise when read are left out.

    Args:
        metadata: metadata for the root.
        tags: tags for the root; a string is one tag.
        **others: the other fields of ``Options``.
    """
    options = Options(**others)
    try:
        options = replace(options, metadata=dict(metadata or {}))
    except BaseException as error:  # noqa: BLE001 - the app's own mapping
        let_through(error)
        diagnostics.fault("metadata", error)
    try:
        options = replace(options, tags=(tags,) if isinstance(tags, str) else tuple(tags))
    except BaseException as error:  # noqa: BLE001 - the app's own iterator
        let_through(error)
        diagnostics.fault("tags", error)
    return options


_NO_OPTIONS: Final = Options()
# A context variable, so tasks and (with ``asyncio.to_thread``) threads started in the block inherit it.
_using: ContextVar[Options] = ContextVar("otel_realtime_using", default=_NO_OPTIONS)


def current_options() -> Options:
    """Return the combined options of the ``using(...)`` blocks around this code."""
    return _using.get()


@contextmanager
def using(
    *,
    thread_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    tags: Iterable[str] = (),
    record_audio: bool | None = None,
    capture_content: bool | None = None,
    join: bool | None = None,
) -> Iterator[None]:
    """Apply options to every conversation whose connection is opened inside the block.

    Use it in apps whose framework opens the connection. Blocks nest: inner values take precedence,
    and metadata and tags are merged. Code inside the block that neither opens a conversation nor
    receives its events, such as a worker or a tool, gets the only live conversation opened in the
    block from ``current_conversation()``.

    With a ``thread_id``, one connection may replace another: a connection opened in the block
    continues the conversation of an earlier connection with the same path and model that closed less
    than ``Settings.join_sockets_s`` ago. The result is one trace with one recording, in which a span
    ``reconnect`` shows the gap. A conversation whose connection has closed therefore ends only when
    that time is up, when the block ends, or at ``flush()`` or ``shutdown()``; in the trace, its end is
    the time of the close. Connections that are open at the same time are separate conversations.

    Args:
        thread_id: the app's id for the thread.
        metadata: metadata for the root.
        tags: tags for the root.
        record_audio: overrides ``Settings.record_audio``.
        capture_content: overrides ``Settings.capture_content``.
        join: ``False`` if each connection has its own conversation, which ends with the connection;
            ``None`` means as in the enclosing block.

    Added in 0.1.0.
    """
    options = options_of(
        thread_id=thread_id,
        metadata=metadata,
        tags=tags,
        record_audio=record_audio,
        capture_content=capture_content,
        join=join,
    )
    with within(options):
        yield


@contextmanager
def within(options: Options) -> Iterator[None]:
    """Apply options to every conversation whose connection is opened inside the block."""
    outer = _using.get()
    thread_block = Owner() if _has_own_thread(options, outer) else None
    options = replace(options.over(outer), block=Block(outer.block))
    if thread_block is not None:
        options = replace(options, thread_block=thread_block)
    token = _using.set(options)
    try:
        yield
    finally:
        try:
            _using.reset(token)
        except ValueError:  # the block is left in a different context than it was entered in
            pass
        if thread_block is not None:
            thread_block.over()


@walled
def _has_own_thread(options: Options, outer: Options) -> bool:
    # A block that repeats the thread of the enclosing block does not end that thread when it ends.
    return options.thread_id is not None and (
        outer.thread_block is None or options.thread_id != outer.thread_id
    )
