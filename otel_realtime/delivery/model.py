"""The interface between conversations and a backend, and the values that pass through it.

A backend receives the root run of a conversation when it opens, and its end together with the
recording. One package implements ``Backend``; no other part of the project depends on which
package that is::

    root = backend.open(Opening(...))           # the call becomes visible
    ...                                         # the conversation continues
    root.finish(Closing(...), render)           # its end, with the recording

Both calls return at once and do their work in the background. ``flush`` waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

#: MIME type of a WAV, as LangSmith's player expects it (not ``audio/x-wav``).
WAV: Final = "audio/wav"

#: Status of a root's opening: still being tried, accepted, or refused for good.
PostStatus = Literal["pending", "accepted", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A root run when its conversation opens.

    Attributes:
        trace_id: OTel trace id.
        span_id: OTel span id of the root.
        name: name of the run.
        start_ns: start, epoch ns.
        metadata: metadata known at the start, JSON values.
        tags: tags known at the start.
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
        end_ns: end, epoch ns.
        inputs: inputs of the run, JSON values; ``None``: leave those of the opening, which are
            empty.
        outputs: outputs of the run, JSON values.
        metadata: further metadata, merged over the opening's; ``None`` removes a key.
        tags: all tags; ``None``: leave those of the opening.
        error: error message; ``None`` if there was no error.
        name: new name of the run; ``None``: leave that of the opening.
    """

    end_ns: int
    inputs: Mapping[str, Any] | None = None
    outputs: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] | None = None
    error: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A rendered recording, or the reason why there is none.

    Attributes:
        path: the file; ``None`` if there is nothing to attach.
        mime: MIME type of the file.
        status: ``ls_audio_attach_status`` without a file (``none``, ``disabled``, ...); with a file,
            the outcome of the upload replaces it.
        smaller: encodes the same recording as a smaller file, if this one is too large.
        metadata: further metadata of the run, known only after rendering.
    """

    path: Path | None = None
    mime: str = WAV
    status: str = "none"
    smaller: Callable[[], Recording | None] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


#: Renders the recording of a conversation; called once, in the background.
Render = Callable[[], "Recording | None"]
#: Receives whether the end was accepted, and its ``ls_audio_attach_status``.
OnDone = Callable[[bool, str], None]


class Root(Protocol):
    """The root run of one conversation at a backend."""

    @property
    def status(self) -> PostStatus:
        """Status of the opening."""
        ...

    @property
    def url(self) -> str | None:
        """Page of the run; ``None`` until it is known."""
        ...

    def finish(
        self,
        closing: Closing,
        recording: Render | None = None,
        *,
        on_done: OnDone | None = None,
        max_attachment_mb: float | None = None,
    ) -> None:
        """Send the end of the run in the background; a second call does nothing.

        Args:
            closing: end of the run.
            recording: renders the recording; ``None``: there is none.
            on_done: called in the background when the end was accepted or given up on.
            max_attachment_mb: largest file to attach, in MB; ``None``: the backend's own limit.
        """
        ...


class Backend(Protocol):
    """Receives the root runs and recordings of this process."""

    def open(
        self,
        opening: Opening,
        *,
        ready: Callable[[], object] | None = None,
        accepted: Callable[[], object] | None = None,
    ) -> Root:
        """Send a root run in the background.

        Args:
            opening: the run.
            ready: called in the background before the run is sent.
            accepted: called in the background as soon as the run is accepted.
        """
        ...

    def hurry(self) -> None:
        """Start delivering everything that is pending now, without waiting for it."""
        ...

    def flush(self, timeout_s: float) -> bool:
        """Deliver everything that is pending now.

        Args:
            timeout_s: longest wait in seconds.

        Returns:
            ``True`` only if everything passed in before the call was accepted.
        """
        ...

    def stop(self, timeout_s: float) -> bool:
        """Deliver for a bounded time, then stop; arguments and result as for ``flush``."""
        ...

    def reset_after_fork(self) -> None:
        """Drop everything in a forked child without sending it: the parent delivers it."""
        ...
