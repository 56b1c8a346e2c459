"""The smallest backend there can be: it keeps root runs and recordings in a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from otel_realtime.delivery.model import Closing, OnDone, Opening, PostStatus, Render
from otel_realtime.settings import Settings
from otel_realtime.tracing.members import Member
from otel_realtime.tracing.route import ChooseRoute, Route, Services


class FolderBackend:
    """Implements ``delivery.model.Backend``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spans: list[str] = []
        self.stopped = False
        folder.mkdir(parents=True, exist_ok=True)

    def open(
        self,
        opening: Opening,
        *,
        ready: Callable[[], object] | None = None,
        accepted: Callable[[], object] | None = None,
    ) -> FolderRoot:
        """Write what is known at the start."""
        if ready is not None:
            ready()
        return FolderRoot(self.folder, opening)

    def put(self, span: ReadableSpan, member: Member, /) -> bool:
        """Keep the names of ended spans."""
        self.spans.append(span.name)
        return True

    def hurry(self) -> None:
        """Everything is written at once."""

    def flush(self, timeout_s: float) -> bool:
        """Everything is written at once."""
        return True

    def stop(self, timeout_s: float) -> bool:
        """Nothing runs here."""
        self.stopped = True
        return True

    def reset_after_fork(self) -> None:
        """Nothing to drop."""


class FolderRoot:
    """Implements ``delivery.model.Root``."""

    def __init__(self, folder: Path, opening: Opening) -> None:
        self.status: PostStatus = "accepted"
        self.url: str | None = str(folder / f"{opening.span_id:016x}.json")
        self._folder = folder
        self._opening = opening
        self._write("opening", {"metadata": dict(opening.metadata), "tags": list(opening.tags)})

    def finish(
        self,
        closing: Closing,
        recording: Render | None = None,
        *,
        on_done: OnDone | None = None,
        max_attachment_mb: float | None = None,
    ) -> None:
        """Write the end, and copy the recording."""
        made = recording() if recording is not None else None
        status = made.status if made is not None else "none"
        if made is not None and made.path is not None:
            shutil.copy(made.path, self._folder / "conversation.wav")
            status = "attached"
        self._write("closing", {"outputs": closing.outputs, "error": closing.error})
        if on_done is not None:
            on_done(True, status)

    def _write(self, name: str, data: dict[str, Any]) -> None:
        (self._folder / f"{name}.json").write_text(json.dumps(data, default=str))


def routes_to(folder: Path) -> ChooseRoute:
    """Send every conversation to a folder."""

    def choose(
        settings: Settings, provider: object, services: Services, project: str | None = None
    ) -> Route:
        return Route(
            leg="direct",
            connect=lambda: services.backend(folder, lambda: FolderBackend(folder)),
            note=lambda membership: {"folder": str(folder)},
        )

    return choose
