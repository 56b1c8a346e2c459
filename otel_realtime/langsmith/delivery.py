"""Delivers root runs in the background: the post at once, the patch when all is known.

One thread posts, two others render and send recordings, so an upload of minutes delays no call
from becoming visible. Each delivery is retried for as long as the process lives; a refusal that
no retry can mend is final and said once. What never got through stays with the caller, who is told
by ``on_done`` only of ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from otel_realtime.attributes import Meta
from otel_realtime.background import Again, Job, Worker
from otel_realtime.delivery.model import Closing, OnDone, Opening, PostStatus, Render
from otel_realtime.diagnostics import warn_again, warn_once
from otel_realtime.errors import RecordingError
from otel_realtime.langsmith.config import LangSmithConfig, warn_key_refused
from otel_realtime.langsmith.ending import End
from otel_realtime.langsmith.http import Answer
from otel_realtime.langsmith.ids import run_id
from otel_realtime.langsmith.runs import RunsClient
from otel_realtime.langsmith.statuses import (
    ALREADY_RECEIVED,
    KEY_REFUSED,
    TOO_LARGE,
    Backoff,
    Verdict,
)

logger = logging.getLogger(__name__)

PENDING: Final[PostStatus] = "pending"
ACCEPTED: Final[PostStatus] = "accepted"
REFUSED: Final[PostStatus] = "refused"

_UPLOADS: Final = 2
_PROJECT_TRIES: Final = 6
_FAULT: Final = "a fault while posting; see the log"


class RootDelivery:
    """One conversation's root run on its way to LangSmith; made by ``Deliveries.open``.

    Attributes:
        opening: what was posted.
        ready: called before it is posted.
        status: ``pending`` (being tried), ``accepted`` or ``refused`` (final): of the post.
        refusal: what LangSmith said, and what to correct; empty unless refused.
        refusal_status: the HTTP status of the refusal, None when there was no answer.
    """

    def __init__(
        self, owner: Deliveries, opening: Opening, ready: Callable[[], object] | None = None
    ) -> None:
        self.opening = opening
        self.ready = ready
        self.status: PostStatus = PENDING
        self.refusal = ""
        self.refusal_status: int | None = None
        self._owner = owner
        self._end: End | None = None

    @property
    def url(self) -> str | None:
        """The run's page, None until LangSmith has told the project's id."""
        return self._owner.run_url(self.opening)

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
            recording: renders the recording; called once, on a delivery thread.
            on_done: called on a delivery thread with whether LangSmith accepted the end, and with
                the ``ls_audio_attach_status`` it got or would have got.
            max_attachment_mb: a larger file is not attached; None: what the host takes.
        """
        limit = self._owner.config.attachment_limit(max_attachment_mb)
        end = End(closing, recording, on_done, limit)
        if self._owner.take_end(self, end):
            return
        logger.debug("a root run was finished twice")


class Deliveries:
    """All root runs this process delivers; threads start when the first one opens.

    Args:
        config: where to and with which key.
        backoff: waits between tries.
    """

    def __init__(self, config: LangSmithConfig, *, backoff: Backoff | None = None) -> None:
        self.config = config
        self._backoff = backoff or Backoff()
        self._posts = Worker("otel-realtime-posts")
        self._uploads = Worker("otel-realtime-uploads", _UPLOADS)
        self._reset()

    def _reset(self) -> None:
        self._client = RunsClient(self.config)
        self._changed = threading.Lock()
        self._outstanding: set[tuple[RootDelivery, str]] = set()
        self._lost = 0
        self._projects: dict[str, tuple[str, str] | None] = {}
        self._stopped = False

    def reset_after_fork(self) -> None:
        """In a fork's child: drop what the parent process delivers, without sending it."""
        self._posts.reset_after_fork()
        self._uploads.reset_after_fork()
        self._reset()

    def open(self, opening: Opening, *, ready: Callable[[], object] | None = None) -> RootDelivery:
        """Post a root run in the background, after ``ready()``; returns at once."""
        root = RootDelivery(self, opening, ready)
        with self._changed:
            if self._stopped:
                root.status, root.refusal = REFUSED, "delivery was shut down"
                self._lost += 1
                return root
            self._outstanding.add((root, "post"))
        self._posts.submit(_Post(self, root), on_fault=lambda _: self.post_ended(root, _FAULT))
        return root

    def flush(self, timeout_s: float) -> bool:
        """Deliver what is on its way, now.

        Returns:
            True only if LangSmith accepted every run opened or finished before the call (of a run
            still open: its post), and none was refused since the last call.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            wanted = set(self._outstanding)
        self._posts.hurry()
        self._uploads.hurry()
        posts = {entry for entry in wanted if entry[1] == "post"}
        done = self._posts.wait_until(lambda: not posts & self._outstanding, timeout_s)
        left_s = max(deadline - time.monotonic(), 0.0)
        done = self._uploads.wait_until(lambda: not wanted & self._outstanding, left_s) and done
        with self._changed:
            lost, self._lost = self._lost, 0
        return done and lost == 0

    def shutdown(self, timeout_s: float) -> bool:
        """Flush for a bounded time, then stop; what is left is sent no more."""
        deadline = time.monotonic() + timeout_s
        accepted = self.flush(timeout_s)
        with self._changed:
            self._stopped = True
        for worker in (self._posts, self._uploads):
            worker.stop(max(deadline - time.monotonic(), 0.0))
        return accepted

    def run_url(self, opening: Opening) -> str | None:
        """Return the page of a run, None until its project's id is known."""
        found = self._projects.get(self.config.project)
        return None if found is None else self.config.run_url(*found, run_id(opening.span_id))

    def take_end(self, root: RootDelivery, end: End) -> bool:
        """Take a run's end and send it as soon as its post was accepted; False the second time."""
        with self._changed:
            if root._end is not None:
                return False
            root._end = end
            self._outstanding.add((root, "patch"))
            waits = root.status == PENDING
        if not waits:
            self._send_end(root, end)
        return True

    # --- the post, on the posting thread -----------------------------------------------------

    def post_ended(self, root: RootDelivery, refusal: str | None) -> None:
        """Note the fate of a post and let the end follow, if it is there already."""
        with self._changed:
            root.refusal = refusal or ""
            root.status = ACCEPTED if refusal is None else REFUSED
            end = root._end
        if end is not None:
            self._send_end(root, end)
        self._settle(root, "post", lost=refusal is not None)
        if refusal is None:
            self._look_up(self.config.project)

    def _look_up(self, project: str) -> None:
        """Learn a project's id, once, for the pages of its runs."""
        with self._changed:
            if project in self._projects:
                return
            self._projects[project] = None
        self._posts.submit(_LookUp(self._client, self._projects, project, self._backoff))

    # --- the end, on an uploading thread --------------------------------------------------

    def _send_end(self, root: RootDelivery, end: End) -> None:
        job: Job = _Patch(self, root, end)
        if root.status == REFUSED:
            job = _GiveUp(self, root, end)
        if not self._uploads.submit(job, on_fault=lambda _: self.end_done(root, end, False)):
            self._settle(root, "patch", lost=True)

    def end_done(self, root: RootDelivery, end: End, delivered: bool) -> None:
        """Note the fate of a run's end and tell the caller."""
        try:
            if end.on_done is not None:
                end.on_done(delivered, end.status)
        except Exception:
            logger.warning("a delivery's callback failed", exc_info=True)
        self._settle(root, "patch", lost=not delivered)

    # --- shared by both ------------------------------------------------------------------------

    def client(self) -> RunsClient:
        """Return the client for requests of this process."""
        return self._client

    def again(self, failures: int, answer: Answer, what: str) -> Again:
        """Return when to try again; the first failure of an outage is logged."""
        self.warn_once("retry", "%s waits for LangSmith (%s), retrying", what, answer)
        wait_s = self._backoff.wait_s(failures, answer.retry_after_s)
        return Again(wait_s, firm=answer.retry_after_s is not None)

    def reached(self) -> None:
        """Note that LangSmith answers, so the next outage is logged again."""
        warn_again(("roots", self.config, "retry"))

    def warn_once(self, kind: object, message: str, *details: object) -> None:
        """Log a warning, once per kind and LangSmith."""
        warn_once(("roots", self.config, kind), message, *details, log=logger)

    def _settle(self, root: RootDelivery, what: str, *, lost: bool) -> None:
        with self._changed:
            if (root, what) in self._outstanding:
                self._outstanding.discard((root, what))
                self._lost += lost


class _Post:
    """Posts one root run until LangSmith has it or refuses it."""

    def __init__(self, owner: Deliveries, root: RootDelivery) -> None:
        self._owner = owner
        self._root = root
        self._failures = 0

    def __call__(self) -> Again | None:
        owner, root = self._owner, self._root
        if root.ready is not None:
            root.ready()
            root.ready = None
        answer = owner.client().post(root.opening)
        if answer.ruling.verdict is Verdict.RETRY:
            self._failures += 1
            return owner.again(self._failures, answer, "a root run")
        owner.reached()
        refusal = None if answer.ruling.verdict is Verdict.DONE else str(answer)
        if answer.status in KEY_REFUSED:
            warn_key_refused(owner.config, answer.status, answer)
        elif refusal is not None:
            owner.warn_once(
                ("post", answer.status),
                "LangSmith refused a root run: the conversation goes there without its recording, "
                "if at all (%s)",
                answer,
            )
        if refusal is not None:
            root.refusal_status = answer.status
        owner.post_ended(root, refusal)
        return None


class _Patch:
    """Sends one run's end until LangSmith has it or refuses it, at last without the recording."""

    def __init__(self, owner: Deliveries, root: RootDelivery, end: End) -> None:
        self._owner = owner
        self._root = root
        self._end = end
        self._failures = 0

    def __call__(self) -> Again | None:
        self._end.prepare()
        while True:
            answer = self._try()
            verdict = None if answer is None else answer.ruling.verdict
            if answer is not None and verdict is Verdict.RETRY:
                self._failures += 1
                return self._owner.again(self._failures, answer, "the end of a root run")
            if answer is not None and (verdict is Verdict.DONE or not self._lighten(answer)):
                self._owner.reached()
                self._owner.end_done(self._root, self._end, verdict is Verdict.DONE)
                return None

    def _try(self) -> Answer | None:
        """Send once; None when the recording could not be read and is left out from now on."""
        end, opening = self._end, self._root.opening
        metadata: dict[str, Any] = {**opening.metadata, **end.metadata}
        metadata[Meta.ATTACH_STATUS] = end.status
        try:
            answer = self._owner.client().patch(opening, end.closing, metadata, end.attached)
        except RecordingError as error:
            self._owner.warn_once("unreadable", "a recording is not attached: %s", error)
            end.detach("failed")
            return None
        if answer.status == ALREADY_RECEIVED and end.attached is not None:
            logger.info("a root run was already received; whether with its recording is unknown")
        return answer

    def _lighten(self, answer: Answer) -> bool:
        """After a refusal: leave out, or shrink, the recording; False when that is no help."""
        self._owner.warn_once(
            ("patch", answer.status), "LangSmith refused the end of a root run: %s", answer
        )
        if self._end.attached is None or answer.status in KEY_REFUSED:
            if self._end.attached is not None:
                self._end.detach("no_credentials")
            return False
        if answer.status == TOO_LARGE:
            self._end.shrink()
        else:
            self._end.detach("failed")
        return True


class _GiveUp:
    """Tells the caller that a refused run gets no end and no recording."""

    def __init__(self, owner: Deliveries, root: RootDelivery, end: End) -> None:
        self._owner = owner
        self._root = root
        self._end = end

    def __call__(self) -> None:
        refused_key = self._root.refusal_status in KEY_REFUSED
        self._end.detach("no_credentials" if refused_key else "failed")
        self._owner.end_done(self._root, self._end, False)


class _LookUp:
    """Learns a project's id; a new project is there only a moment after its first run."""

    def __init__(
        self,
        client: RunsClient,
        projects: dict[str, tuple[str, str] | None],
        project: str,
        backoff: Backoff,
    ) -> None:
        self._client = client
        self._projects = projects
        self._project = project
        self._backoff = backoff
        self._tries = 0

    def __call__(self) -> Again | None:
        found = self._client.find_project(self._project)
        if found is not None:
            self._projects[self._project] = found
            return None
        self._tries += 1
        if self._tries >= _PROJECT_TRIES:
            self._projects.pop(self._project, None)  # the next conversation asks again
            return None
        return Again(self._backoff.wait_s(self._tries))
