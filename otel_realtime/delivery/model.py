"""What is delivered of one conversation, and to whom: the seam between a call and a backend.

A backend takes the root run of a conversation when it opens, and its end with the recording. It is
one package that implements ``Backend``; nothing else in this project needs to know which one it is::

    root = backend.open(Opening(...))           # the call becomes visible
    ...                                         # the conversation goes on
    root.finish(Closing(...), render)           # its end; the recording goes along

Both return at once; the work is done in the background. ``flush`` waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

WAV: Final = "audio/wav"

PostStatus = Literal["pending", "accepted", "refused"]
"""Of a root's opening: being tried, taken, or refused for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A root run when its conversation opens.

    Attributes:
        trace_id: the OTel trace id.
        span_id: the OTel span id of the root.
        name: the run's name.
        start_ns: epoch nanoseconds.
        metadata: what is known at the start.
        tags: what is known at the start.
    """

    trace_id: int
    span_id: int
    name: str
    start_ns: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """A root run when its conversation has ended.

    Attributes:
        end_ns: the true end, epoch nanoseconds.
        inputs: the run's inputs, None to leave the empty ones of the start.
        outputs: the run's outputs.
        metadata: what came to be known; merged over the opening's.
        tags: all of them, None to leave those of the start.
        error: what went wrong, None when nothing did.
    """

    end_ns: int
    inputs: Mapping[str, Any] | None = None
    outputs: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A rendered recording, or why there is none.

    Attributes:
        path: the finished file, None when there is nothing to attach.
        mime: exactly ``audio/wav`` for a WAV: LangSmith plays by it.
        status: ``ls_audio_attach_status`` without an attachment (``none``, ``disabled``, ...);
            with one it is replaced by what became of it.
        smaller: makes a smaller file of the same recording when this one is too large.
        metadata: what only rendering told, merged over the run's.
    """

    path: Path | None = None
    mime: str = WAV
    status: str = "none"
    smaller: Callable[[], Recording | None] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


Render = Callable[[], "Recording | None"]
"""Renders the recording of a conversation; called once, in the background."""
OnDone = Callable[[bool, str], None]
"""Told whether the end was accepted, and the ``ls_audio_attach_status`` that it got."""


class Root(Protocol):
    """One conversation's root run on its way to a backend."""

    @property
    def status(self) -> PostStatus:
        """What became of the opening so far."""
        ...

    @property
    def url(self) -> str | None:
        """The run's page, None as long as it is not known."""
        ...

    def finish(
        self,
        closing: Closing,
        recording: Render | None = None,
        *,
        on_done: OnDone | None = None,
        max_attachment_mb: float | None = None,
    ) -> None:
        """Send the end of the run; returns at once, and does nothing the second time.

        Args:
            closing: the run's end.
            recording: renders the recording.
            on_done: called in the background when the end was accepted or given up.
            max_attachment_mb: a larger file is not attached; None: what the backend takes.
        """
        ...


class Backend(Protocol):
    """Takes root runs and recordings of this process's conversations."""

    def open(self, opening: Opening, *, ready: Callable[[], object] | None = None) -> Root:
        """Send a root run, after ``ready()`` was called in the background; returns at once."""
        ...

    def flush(self, timeout_s: float) -> bool:
        """Deliver what is on its way, now.

        Returns:
            True only if everything taken before the call was accepted within ``timeout_s`` seconds.
        """
        ...

    def stop(self, timeout_s: float) -> bool:
        """Deliver for a bounded time, then stop; same answer as ``flush``."""
        ...

    def reset_after_fork(self) -> None:
        """In a fork's child: drop what the parent process delivers, without sending it."""
        ...
