"""The ids of projects, for the URLs of their runs; looked up once, in the background.

This runs on a thread of its own, so that no root run waits for an answer that only a link needs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from otel_realtime.background import Again, Worker
from otel_realtime.langsmith.config import agent_of
from otel_realtime.langsmith.statuses import Backoff

#: Number of attempts; a new project exists only some time after its first run.
TRIES: Final = 6

#: Tenant id and project id.
Ids = tuple[str, str]


class Projects:
    """Looks up projects by name; thread-safe.

    Args:
        find: asks LangSmith; returns ``None`` if the project does not exist (yet).
        backoff: delays between attempts.
    """

    def __init__(self, find: Callable[[str], Ids | None], backoff: Backoff) -> None:
        self._find = find
        self._backoff = backoff
        self._worker = Worker("otel-realtime-projects")
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[str, Ids | None] = {}  # ``None`` while they are being looked up

    def reset_after_fork(self) -> None:
        """Forget everything in a forked child."""
        self._worker.reset_after_fork()
        self._reset()

    def get(self, project: str) -> Ids | None:
        """Return the ids of a project; ``None`` as long as they are not known."""
        return self._ids.get(project)

    def look_up(self, project: str) -> None:
        """Look up a project in the background, once."""
        if agent_of(project) is not None:  # only LangSmith knows the project of an agent
            return
        with self._lock:
            if project in self._ids:
                return
            self._ids[project] = None
        self._worker.submit(
            _LookUp(self._find, self._ids, project, self._backoff),
            on_fault=lambda _: self._ids.pop(project, None),  # the next conversation tries again
        )

    def stop(self, timeout_s: float) -> None:
        """End the thread; a look-up that was not answered is forgotten."""
        self._worker.stop(timeout_s)


class _LookUp:
    """The job that looks up one project."""

    def __init__(
        self,
        find: Callable[[str], Ids | None],
        ids: dict[str, Ids | None],
        project: str,
        backoff: Backoff,
    ) -> None:
        self._find = find
        self._ids = ids
        self._project = project
        self._backoff = backoff
        self._tries = 0

    def __call__(self) -> Again | None:
        ids = self._find(self._project)
        if ids is not None:
            self._ids[self._project] = ids
            return None
        self._tries += 1
        if self._tries >= TRIES:
            self._ids.pop(self._project, None)  # the next conversation tries again
            return None
        return Again(self._backoff.wait_s(self._tries), floor_s=self._backoff.floor_s())
