"""The end of a root run until LangSmith has it: what is said, and which file goes along."""

from __future__ import annotations

import logging
from typing import Any

from otel_realtime.attributes import Meta
from otel_realtime.delivery.model import Closing, OnDone, Recording, Render

logger = logging.getLogger(__name__)


class End:
    """What is known of a run's end, and which file is to go along.

    Args:
        closing: the end.
        render: makes the recording; None: there is none.
        on_done: told of its fate.
        limit: bytes of the largest attachment.

    Attributes:
        status: ``ls_audio_attach_status`` as it is now.
        attached: the file that goes along; None: none.
        metadata: all of the run's metadata.
    """

    def __init__(
        self, closing: Closing, render: Render | None, on_done: OnDone | None, limit: int
    ) -> None:
        self.closing = closing
        self.on_done = on_done
        self.status = "none"
        self.attached: Recording | None = None
        self.metadata: dict[str, Any] = dict(closing.metadata)
        self._render = render
        self._limit = limit

    def prepare(self) -> None:
        """Render the recording, once, and choose the file to attach."""
        render, self._render = self._render, None
        if render is not None:
            # The conversation knows why there is none; one that was to come and did not, failed.
            why = self.closing.metadata.get(Meta.ATTACH_STATUS, "none")
            self._choose(_rendered(render), otherwise="failed" if why == "pending" else why)

    def shrink(self) -> None:
        """Use the next smaller file after LangSmith found this one too large."""
        smaller = None if self.attached is None else self.attached.smaller
        self._choose(None if smaller is None else _rendered(smaller), otherwise="too_large")

    def detach(self, status: str) -> None:
        """Send the end without the recording."""
        self.attached, self.status = None, status

    def _choose(self, recording: Recording | None, otherwise: str = "none") -> None:
        if recording is not None:
            self.metadata.update(recording.metadata)
        while recording is not None and recording.path is not None:
            try:
                size = recording.path.stat().st_size
            except OSError as error:
                logger.warning("cannot read the recording: %s", error)
                self.detach("failed")
                return
            if size <= self._limit:
                self.attached, self.status = recording, "attached"
                return
            otherwise = "too_large"
            recording = None if recording.smaller is None else _rendered(recording.smaller)
        self.detach(otherwise if recording is None else recording.status)


def _rendered(render: Render) -> Recording | None:
    try:
        return render()
    except Exception as error:
        logger.warning("cannot render the recording: %s", error, exc_info=True)
        return Recording(status="failed")
