"""The end of a root run while it is being delivered: its metadata, and the file to attach."""

from __future__ import annotations

from typing import Any

from otel_realtime.attributes import Meta
from otel_realtime.delivery.model import Closing, OnDone, Recording, Render
from otel_realtime.diagnostics import logger_of

logger = logger_of(__name__)


class End:
    """The end of a run, and the file to attach; used by one delivery thread at a time.

    Args:
        closing: end of the run.
        render: renders the recording; ``None``: there is none.
        on_done: called with the outcome.
        limit: largest attachment in bytes.

    Attributes:
        closing: as given.
        on_done: as given.
        status: current ``ls_audio_attach_status``.
        attached: file to attach; ``None``: none.
        size: its bytes.
        metadata: all metadata of the run's end.
    """

    def __init__(
        self, closing: Closing, render: Render | None, on_done: OnDone | None, limit: int
    ) -> None:
        self.closing = closing
        self.on_done = on_done
        self.status = "none"
        self.attached: Recording | None = None
        self.size = 0
        self.metadata: dict[str, Any] = dict(closing.metadata)
        self._render = render
        self._limit = limit

    def prepare(self) -> None:
        """Render the recording and choose the file to attach; further calls do nothing."""
        render, self._render = self._render, None
        if render is not None:
            # Without a file, the conversation's own status gives the reason, except that a recording
            # which was still pending at its end has failed.
            status = self.closing.metadata.get(Meta.ATTACH_STATUS, "none")
            self._choose(_rendered(render), otherwise="failed" if status == "pending" else status)

    def shrink(self) -> None:
        """Choose the next smaller file, after LangSmith refused this one as too large (413)."""
        smaller = None if self.attached is None else self.attached.smaller
        self._choose(None if smaller is None else _rendered(smaller), otherwise="too_large")

    def detach(self, status: str) -> None:
        """Attach nothing.

        Args:
            status: ``ls_audio_attach_status`` that gives the reason.
        """
        self.attached, self.size, self.status = None, 0, status

    def _choose(self, recording: Recording | None, otherwise: str = "none") -> None:
        """Choose the first of a recording's files that is not too large.

        Args:
            recording: the recording; each file leads to the next smaller one.
            otherwise: status if there is no recording.
        """
        if recording is not None:
            self.metadata.update(recording.metadata)
        while recording is not None and recording.path is not None:
            try:
                size = recording.path.stat().st_size
            except OSError as error:
                logger.warning("a recording is not attached: cannot read it: %s", error)
                self.detach("failed")
                return
            if size <= self._limit:
                self.attached, self.size, self.status = recording, size, "attached"
                return
            otherwise = "too_large"
            recording = None if recording.smaller is None else _rendered(recording.smaller)
        self.detach(otherwise if recording is None else recording.status)


def _rendered(render: Render) -> Recording | None:
    try:
        return render()
    except BaseException as error:  # only the recording is lost, not the end
        logger.warning("a recording is not attached: rendering it failed: %s", error, exc_info=True)
        return Recording(status="failed")
