"""Delivers root runs in the background: the post when a call opens, the patch when it has ended.

Posts and uploads have threads of their own, so that an upload of minutes does not delay the post of
the next call. If a request takes long, the next one starts in parallel. Deliveries are retried as
long as the process lives, within the destination's budget::

    post: pending -+-> accepted -> patch, with recording -> done
                   |                 413: a smaller file; another refusal: without the recording
                   +-> refused --> given up: no patch; the root span goes by OTLP

A run's end may be enqueued while its post is pending; its patch then follows the post.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from otel_realtime.attributes import Meta
from otel_realtime.background import Again, Job, Worker
from otel_realtime.delivery.model import Closing, OnDone, Opening, PostStatus, Render
from otel_realtime.diagnostics import logger_of, warn_again, warn_once
from otel_realtime.errors import RecordingError
from otel_realtime.langsmith.budget import budget_for
from otel_realtime.langsmith.config import LangSmithConfig, warn_key_refused
from otel_realtime.langsmith.ending import End
from otel_realtime.langsmith.http import Answer
from otel_realtime.langsmith.ids import run_id
from otel_realtime.langsmith.projects import Projects
from otel_realtime.langsmith.runs import RunsClient
from otel_realtime.langsmith.statuses import (
    ALREADY_RECEIVED,
    KEY_REFUSED,
    TOO_LARGE,
    Backoff,
    Verdict,
)

logger = logger_of(__name__)

PENDING: Final[PostStatus] = "pending"
ACCEPTED: Final[PostStatus] = "accepted"
REFUSED: Final[PostStatus] = "refused"

#: Number of uploads at a time.
_UPLOADS: Final = 2
#: Seconds after which a post, or an upload, no longer holds up the next one.
POST_PATIENCE_S: Final = 1.0
UPLOAD_PATIENCE_S: Final = 5.0
#: Maximum number of requests of one kind at a time, slow ones included.
_MOST: Final = 8
_FAULT: Final = "an internal error while posting; see the log"


class RootDelivery:
    """The root run of one conversation at LangSmith; created by ``Deliveries.open``.

    Implements ``delivery.model.Root``.

    Attributes:
        opening: the run as it is posted.
        ready: called before the post.
        accepted: called when LangSmith has accepted the post, before anything else happens.
        status: status of the post: ``pending``, ``accepted`` or ``refused`` (final).
        refusal: LangSmith's answer, and what to correct; empty unless refused.
        refusal_status: HTTP status of the refusal; ``None`` without an answer.
    """

    def __init__(
        self,
        owner: Deliveries,
        opening: Opening,
        ready: Callable[[], object] | None = None,
        accepted: Callable[[], object] | None = None,
    ) -> None:
        self.opening = opening
        self.ready = ready
        self.accepted = accepted
        self.status: PostStatus = PENDING
        self.refusal = ""
        self.refusal_status: int | None = None
        self._owner = owner
        self._end: End | None = None

    @property
    def url(self) -> str | None:
        """Page of the run; ``None`` until the project's id is known."""
        return self._owner.run_url(self.opening)

    def finish(
        self,
        closing: Closing,
        recording: Render | None = None,
        *,
        on_done: OnDone | None = None,
        max_attachment_mb: float | None = None,
    ) -> None:
        """Send the end of the run in the background; see ``delivery.model.Root.finish``.

        ``recording`` and ``on_done`` are called on an upload thread.
        """
        limit = self._owner.config.attachment_limit(max_attachment_mb)
        end = End(closing, recording, on_done, limit)
        if self._owner.enqueue_end(self, end):
            return
        logger.debug("a root run was finished twice")


class Deliveries:
    """Delivers the root runs of this process to one project; thread-safe.

    Args:
        config: address and credentials.
        backoff: delays between attempts.
    """

    def __init__(self, config: LangSmithConfig, *, backoff: Backoff | None = None) -> None:
        self.config = config
        self._backoff = backoff or Backoff()
        self._posts = Worker("otel-realtime-posts", patience_s=POST_PATIENCE_S, most=_MOST)
        self._uploads = Worker(
            "otel-realtime-uploads", _UPLOADS, patience_s=UPLOAD_PATIENCE_S, most=_MOST
        )
        self._projects = Projects(lambda name: self._client.find_project(name), self._backoff)
        self._reset()

    def _reset(self) -> None:
        self._client = RunsClient(self.config)
        self._budget = budget_for(self.config.account)
        self._lock = threading.Lock()
        # Posts and patches that are not settled, which ``flush`` waits for.
        self._outstanding: set[tuple[RootDelivery, str]] = set()
        self._lost = 0  # refused since the last ``flush``
        self._stopped = False

    def reset_after_fork(self) -> None:
        """Drop everything in a forked child without sending it: the parent delivers it."""
        self._posts.reset_after_fork()
        self._uploads.reset_after_fork()
        self._projects.reset_after_fork()
        self._reset()

    def open(
        self,
        opening: Opening,
        *,
        ready: Callable[[], object] | None = None,
        accepted: Callable[[], object] | None = None,
    ) -> RootDelivery:
        """Post a root run in the background.

        Args:
            opening: the run.
            ready: called on the posting thread before the post.
            accepted: called there when LangSmith has accepted it.
        """
        root = RootDelivery(self, opening, ready, accepted)
        with self._lock:
            if self._stopped:
                root.status, root.refusal = REFUSED, "delivery was shut down"
                self._lost += 1
                return root
            self._outstanding.add((root, "post"))
        self._posts.submit(_Post(self, root), on_fault=lambda _: self.post_ended(root, _FAULT))
        return root

    def resume(self, opening: Opening) -> RootDelivery:
        """Return another process's root run, which LangSmith has already accepted."""
        root = RootDelivery(self, opening)
        root.status = ACCEPTED
        return root

    def hurry(self) -> None:
        """Start delivering everything that is pending now, without waiting for it."""
        self._posts.hurry()
        self._uploads.hurry()

    def flush(self, timeout_s: float) -> bool:
        """Deliver everything that is pending now, for at most ``timeout_s`` seconds.

        Returns:
            ``True`` only if LangSmith accepted every post and patch enqueued before the call, and
            refused none since the previous call.
        """
        deadline = time.monotonic() + timeout_s
        with self._lock:
            pending = set(self._outstanding)
        self.hurry()
        # Posts first: only a settled post submits its patch.
        posts = {entry for entry in pending if entry[1] == "post"}
        done = self._posts.wait_until(lambda: not posts & self._outstanding, timeout_s)
        left_s = max(deadline - time.monotonic(), 0.0)
        done = self._uploads.wait_until(lambda: not pending & self._outstanding, left_s) and done
        with self._lock:
            lost, self._lost = self._lost, 0
        return done and lost == 0

    def shutdown(self, timeout_s: float) -> bool:
        """Flush for a bounded time, then stop; argument and result as for ``flush``.

        Ends that were not accepted are reported as such to their callers.
        """
        deadline = time.monotonic() + timeout_s
        accepted = self.flush(timeout_s)
        with self._lock:
            self._stopped = True
        for worker in (self._posts, self._uploads, self._projects):
            worker.stop(max(deadline - time.monotonic(), 0.0))
        with self._lock:
            left = [root for root, what in self._outstanding if what == "patch"]
        for root in left:
            if root._end is not None:
                self.end_done(root, root._end, False)
        return accepted

    def run_url(self, opening: Opening) -> str | None:
        """Return the URL of a run's page; ``None`` until its project's id is known."""
        ids = self._projects.get(self.config.project)
        return None if ids is None else self.config.run_url(*ids, run_id(opening.span_id))

    def enqueue_end(self, root: RootDelivery, end: End) -> bool:
        """Enqueue the end of a run, for after its post; return ``False`` if it already has one."""
        with self._lock:
            if root._end is not None:
                return False
            root._end = end
            self._outstanding.add((root, "patch"))
            stopped = self._stopped
            waits = root.status == PENDING  # then ``post_ended`` sends it
        if stopped:
            self.end_done(root, end, False)
        elif not waits:
            self._send_end(root, end)
        return True

    # -- posts, on the posting thread --------------------------------------------------------------

    def post_ended(self, root: RootDelivery, refusal: str | None) -> None:
        """Note the outcome of a post (``refusal``: ``None`` if accepted), and send the run's end, if any."""
        # Status and end are exchanged under the lock, so that exactly one side sends the end.
        with self._lock:
            root.refusal = refusal or ""
            root.status = ACCEPTED if refusal is None else REFUSED
            end = root._end
        if end is not None:
            self._send_end(root, end)
        self._settle(root, "post", lost=refusal is not None)
        if refusal is None:
            self._projects.look_up(self.config.project)

    # -- patches, on an upload thread --------------------------------------------------------------

    def _send_end(self, root: RootDelivery, end: End) -> None:
        job: Job = _Patch(self, root, end)
        if root.status == REFUSED:
            job = _GiveUp(self, root, end)
        if not self._uploads.submit(job, on_fault=lambda _: self.end_done(root, end, False)):
            self.end_done(root, end, False)

    def end_done(self, root: RootDelivery, end: End, delivered: bool) -> None:
        """Report to the caller, once, whether a run's end was delivered, and settle it."""
        with self._lock:
            on_done, end.on_done = end.on_done, None
        try:
            if on_done is not None:
                on_done(delivered, end.status)
        except BaseException:  # even SystemExit must not end the thread
            logger.warning("the callback of a delivery to LangSmith raised", exc_info=True)
        # Settle afterwards: when ``flush`` returns, callbacks have run, and folders are deleted.
        self._settle(root, "patch", lost=not delivered)

    # -- shared by posts and patches ---------------------------------------------------------------

    def send(
        self, request: Callable[[RunsClient], Answer], *, failures: int, size: int = 0
    ) -> Answer | Again:
        """Send a request; repeat one only if the destination's budget allows it.

        Args:
            request: sends it with the client of this process, which is a new one after a fork.
            failures: number of earlier attempts.
            size: bytes of the recording in it.

        Returns:
            The answer; or, if nothing was sent, the time until it should be tried again.
        """
        wait_s = self._budget.take(size) if failures else 0.0
        if wait_s:
            return Again(wait_s)
        answer = request(self._client)
        failed = answer.ruling.verdict is Verdict.RETRY
        if failures:
            self._budget.repeated(size, answered=not failed)
        elif failed:
            self._budget.failed(size)
        return answer

    def retry_later(self, failures: int, answer: Answer, what: str) -> Again:
        """Return when to try again after some failures in a row; log the first failure of an outage."""
        self.warn_once(
            "retry",
            "LangSmith is not accepting %s (%s); it is kept and sent again until it does",
            what,
            answer,
        )
        return Again(
            self._backoff.wait_s(failures, answer.retry_after_s),
            floor_s=self._backoff.floor_s(answer.retry_after_s),
        )

    def note_reachable(self) -> None:
        """Note that LangSmith answers, so that the next outage is logged again."""
        warn_again(("roots", self.config, "retry"))

    def warn_once(self, kind: object, message: str, *details: object) -> None:
        """Log a warning, once per kind and LangSmith project."""
        warn_once(("roots", self.config, kind), message, *details, log=logger)

    def _settle(self, root: RootDelivery, what: str, *, lost: bool) -> None:
        with self._lock:
            if (root, what) in self._outstanding:
                self._outstanding.discard((root, what))
                self._lost += lost


class _Post:
    """The job that posts one root run, until LangSmith accepts or refuses it."""

    def __init__(self, owner: Deliveries, root: RootDelivery) -> None:
        self._owner = owner
        self._root = root
        self._failures = 0

    def __call__(self) -> Again | None:
        owner, root = self._owner, self._root
        if root.ready is not None:  # once, not for each attempt
            root.ready()
            root.ready = None
        answer = owner.send(lambda client: client.post(root.opening), failures=self._failures)
        if isinstance(answer, Again):
            return answer
        if answer.ruling.verdict is Verdict.RETRY:
            self._failures += 1
            return owner.retry_later(self._failures, answer, "a root run")
        owner.note_reachable()
        refusal = None if answer.ruling.verdict is Verdict.DONE else str(answer)
        if answer.status in KEY_REFUSED:
            warn_key_refused(owner.config, answer.status, answer)
        elif refusal is not None:
            owner.warn_once(
                ("post", answer.status),
                "LangSmith refused a root run (%s); its span is sent by OTLP, without the recording",
                answer,
            )
        if refusal is not None:
            root.refusal_status = answer.status
        elif root.accepted is not None:
            root.accepted()
        owner.post_ended(root, refusal)
        return None


class _Patch:
    """The job that patches one root run, until LangSmith accepts or refuses it.

    The last attempt is made without the recording, because a run without an end stays pending forever.
    """

    def __init__(self, owner: Deliveries, root: RootDelivery, end: End) -> None:
        self._owner = owner
        self._root = root
        self._end = end
        self._failures = 0

    def __call__(self) -> Again | None:
        self._end.prepare()
        while True:
            answer = self._try()
            if isinstance(answer, Again):
                return answer
            verdict = None if answer is None else answer.ruling.verdict
            if answer is not None and verdict is Verdict.RETRY:
                self._failures += 1
                return self._owner.retry_later(self._failures, answer, "the end of a root run")
            if answer is not None and (verdict is Verdict.DONE or not self._reduce(answer)):
                self._owner.note_reachable()
                self._owner.end_done(self._root, self._end, verdict is Verdict.DONE)
                return None

    def _try(self) -> Answer | Again | None:
        """Send the patch once, unless it has to wait.

        Returns:
            The answer, or when to ask again; ``None`` if the recording cannot be read and was left
            out.
        """
        end, opening = self._end, self._root.opening
        merged: dict[str, Any] = {**opening.metadata, **end.metadata}
        metadata = {key: value for key, value in merged.items() if value is not None}
        metadata[Meta.ATTACH_STATUS] = end.status
        try:
            answer = self._owner.send(
                lambda client: client.patch(opening, end.closing, metadata, end.attached),
                failures=self._failures,
                size=end.size,
            )
        except RecordingError as error:
            self._owner.warn_once("unreadable", "a recording is not attached: %s", error)
            end.detach("failed")
            return None
        if isinstance(answer, Again):
            return answer
        if answer.status == ALREADY_RECEIVED and end.attached is not None:
            # The answer to an earlier attempt, which probably included the recording, was lost.
            logger.info(
                "LangSmith already has the end of a root run; whether it has the recording is unknown"
            )
        return answer

    def _reduce(self, answer: Answer) -> bool:
        """Attach a smaller file, or none, after a refusal; return ``False`` if that cannot help."""
        self._owner.warn_once(
            ("patch", answer.status),
            "LangSmith refused the end of a root run (%s); it is sent again without the recording, "
            "or stays on disk for `otel-realtime recover`",
            answer,
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
    """The job that tells the caller that a refused run gets neither an end nor a recording."""

    def __init__(self, owner: Deliveries, root: RootDelivery, end: End) -> None:
        self._owner = owner
        self._root = root
        self._end = end

    def __call__(self) -> None:
        refused_key = self._root.refusal_status in KEY_REFUSED
        self._end.detach("no_credentials" if refused_key else "failed")
        self._owner.end_done(self._root, self._end, False)
