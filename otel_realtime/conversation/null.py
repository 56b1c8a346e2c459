"""The conversation that the app gets if none can be opened."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from opentelemetry.trace import INVALID_SPAN, Span

from otel_realtime.conversation.public import Conversation
from otel_realtime.langsmith.ids import run_id


class NullConversation(Conversation):
    """A conversation whose methods do nothing; nothing is traced, recorded or delivered.

    With it, ``with conversation(...) as call`` works even if this package fails.
    """

    def __init__(self) -> None:
        self._thread_id = str(uuid.uuid4())

    @property
    def thread_id(self) -> str:
        """A new UUID."""
        return self._thread_id

    @property
    def trace_id(self) -> str:
        """OpenTelemetry's invalid trace id: 32 zeros."""
        return "0" * 32

    @property
    def langsmith_run_id(self) -> str:
        """The nil UUID."""
        return run_id(0)

    @property
    def langsmith_url(self) -> str | None:
        """Always ``None``."""
        return None

    def received(self, message: object, *, at_ns: int | None = None) -> None:
        """Do nothing."""

    def sent(self, message: object, *, at_ns: int | None = None) -> None:
        """Do nothing."""

    def _record(self, *arguments: object) -> None:
        """Do nothing; called by the ``record_*`` methods."""

    def played(
        self, item_id: str, content_index: int, audio_ms: float, *, at_ns: int | None = None
    ) -> None:
        """Do nothing."""

    @contextmanager
    def tool(
        self,
        call_id: str | None = None,
        *,
        name: str | None = None,
        arguments: str | None = None,
    ) -> Iterator[Span]:
        """Run the block with the invalid span."""
        yield INVALID_SPAN

    @contextmanager
    def pause_recording(self) -> Iterator[None]:
        """Run the block."""
        yield

    def redact_audio(
        self,
        start_ms: float,
        end_ms: float,
        *,
        side: Literal["user", "agent"] | None = None,
        how: Literal["silence", "beep"] = "silence",
    ) -> None:
        """Do nothing."""

    def set_metadata(self, **metadata: Any) -> None:
        """Do nothing."""

    def add_tags(self, *tags: str) -> None:
        """Do nothing."""

    def attach(self, connection: object) -> None:
        """Do nothing."""

    def close(self, error: BaseException | None = None) -> None:
        """Do nothing."""
