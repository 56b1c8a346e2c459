"""Delivers the data of a dead process to its destinations.

LangSmith is the server in the journal, with the key of this process's environment. In addition, the
spans that were open go to the app's own span processors if they export, or else to the exporter that
``configure()`` would set up here. If there is neither, the data stays, unless LangSmith gets all of it.
What was accepted is noted in the conversation's folder, so that a recovery after an interrupted one does
not repeat it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from otel_realtime.attributes import LEG_DIRECT
from otel_realtime.delivery.keep import is_remote, keep, keep_beside, without_password
from otel_realtime.diagnostics import logger_of
from otel_realtime.errors import RecordingError
from otel_realtime.interrupts import let_through
from otel_realtime.langsmith.app_exports import exporter_to_langsmith
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.route import api_url_of, other_exporter, project_of
from otel_realtime.recording.about import About
from otel_realtime.recording.render import Rendered, render
from otel_realtime.recovery.call import text_of
from otel_realtime.recovery.handover import Relay
from otel_realtime.recovery.rebuild import Rebuilt, rebuild
from otel_realtime.recovery.replay import Replayed
from otel_realtime.state.files import clear
from otel_realtime.state.progress import KEPT, OTLP, POSTED, ROOT, Progress

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from otel_realtime.delivery.model import Recording
    from otel_realtime.langsmith.delivery import Deliveries
    from otel_realtime.langsmith.exporter import DirectExporter
    from otel_realtime.langsmith.stamping import Stamp
    from otel_realtime.settings import Settings
    from otel_realtime.state.header import Header
    from otel_realtime.tracing.members import Member

logger = logger_of(__name__)

_WAV: Final = "conversation.wav"
_CLAIMED: Final = "claimed"
_WITHOUT_RECORDING: Final = "LangSmith has its root without the recording, which is kept"
_EXPORT_SPANS: Final = 256
_NO_OTLP: Final = "the OTLP endpoint did not take its spans"
_NO_EXPORTER: Final = "its spans have nowhere to go: set OTEL_EXPORTER_OTLP_ENDPOINT, or start the app with its exporters"
_ONLY_LANGSMITH: Final = "what was open went to LangSmith only, not to the app's own exporters"
#: Longest wait for the app's exporters to accept the open spans of one conversation.
_RELAY_S: Final = 5.0
_AWAY: Final = "LangSmith is slow or away"


class NotDelivered(Exception):
    """Something could not be delivered now and stays on disk. The text says why."""


class OnItsWay(NotDelivered):
    """LangSmith has not answered yet; the delivery continues in the background.

    Attributes:
        settle: waits for it until the deadline, and ends as ``deliver`` would have ended.
        is_answered: returns whether there is an answer by now, so that ``settle`` does not wait.
    """

    def __init__(self, settle: Callable[[], Any], is_answered: Callable[[], bool]) -> None:
        super().__init__(_AWAY)
        self.settle = settle
        self.is_answered = is_answered


class AwaitsExporters(NotDelivered):
    """Everything was delivered, except to the app's own exporters: the app has none yet."""


class Destinations:
    """The destinations that this process may deliver to, and the deadline.

    Args:
        settings: settings of this process.
        deadline: ``time.monotonic()`` after which nothing is waited for.
        provider: the app's ``TracerProvider``; ``None``: there is no app.
        awaits_exporters: the app may still get exporters.

    Attributes:
        relay: passes spans to the app's own span processors; ``None``: they are not of use.
        awaits_exporters: as given.
    """

    def __init__(
        self,
        settings: Settings,
        deadline: float,
        provider: object = None,
        *,
        awaits_exporters: bool = False,
    ) -> None:
        # The processors of an app that exports to LangSmith itself would send everything there again.
        of_use = Relay.is_of_use(provider) and exporter_to_langsmith(provider) is None
        self.relay = Relay(provider) if of_use else None
        self.awaits_exporters = awaits_exporters
        self._deadline = deadline
        self._recordings_dir = settings.recordings_dir
        self._config = LangSmithConfig.from_env()
        self._roots: dict[str, Deliveries] = {}
        self._backends: list[Deliveries | DirectExporter] = []
        # If the app has exporters, those of the environment are not used.
        self._otlp, self._otlp_problem = None, ""
        try:
            self._otlp = other_exporter(settings) if self.relay is None else None
        except Exception as error:  # noqa: BLE001 - anything that the environment may cause
            self._otlp_problem = f"no exporter for OTEL_EXPORTER_OTLP_*: {error}"
        self._otlp_failed = False

    def keeps_in(self, directory: str) -> bool:
        """Return whether this process's own settings name the folder or bucket that a journal names.

        A journal only says where a recording belongs. The ability to write a journal must not be
        enough to have files written anywhere.
        """
        own = self._recordings_dir
        if own is None or is_remote(own) or is_remote(directory):
            return own is not None and own.rstrip("/") == directory.rstrip("/")
        return os.path.realpath(os.path.expanduser(own)) == os.path.realpath(
            os.path.expanduser(directory)
        )

    @property
    def exports(self) -> bool:
        """Whether there is, or should be, a destination besides LangSmith."""
        return self._otlp is not None or bool(self._otlp_problem)

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return max(self._deadline - time.monotonic(), 0.0)

    @contextmanager
    def share(self, part: float, most_s: float = math.inf) -> Iterator[None]:
        """Shorten the deadline for the block to this fraction of the remaining time."""
        whole = self._deadline
        self._deadline = time.monotonic() + min(self.left_s * part, most_s)
        try:
            yield
        finally:
            self._deadline = whole

    def roots(self, api_url: str | None, project: str) -> Deliveries:
        """Return the deliveries of root runs to a project.

        Raises:
            NotDelivered: this process has no key, or one for another LangSmith.
        """
        config = self._config_for(api_url, project)
        roots = self._roots.get(project)
        if roots is None:
            from otel_realtime.langsmith.delivery import Deliveries

            roots = self._roots[project] = Deliveries(config)
            self._backends.append(roots)
        return roots

    def retire(self, project: str) -> None:
        """Leave a project's deliveries to the run they wait for: the next run gets new ones."""
        self._roots.pop(project, None)

    def spans(self, api_url: str | None, project: str) -> DirectExporter:
        """Return a new exporter of spans to a project: one that is stuck delays no others.

        Raises:
            NotDelivered: this process has no key, or one for another LangSmith.
        """
        from otel_realtime.langsmith.exporter import DirectExporter

        exporter = DirectExporter(self._config_for(api_url, project))
        self._backends.append(exporter)
        return exporter

    def _config_for(self, api_url: str | None, project: str) -> LangSmithConfig:
        if not self._config.api_key:
            raise NotDelivered("set LANGSMITH_API_KEY")
        if api_url not in (None, self._config.api_url, self._config.address):
            raise NotDelivered(f"it belongs to {api_url}: set LANGSMITH_ENDPOINT to it")
        return replace(self._config, project=project)

    def export(self, spans: Sequence[ReadableSpan]) -> None:
        """Give spans to the destination of ``OTEL_EXPORTER_OTLP_*``, if there is one.

        Raises:
            NotDelivered: it did not accept them.
        """
        if self._otlp is None:
            raise NotDelivered(self._otlp_problem or _NO_EXPORTER)
        if self._otlp_failed or not self.left_s:
            raise NotDelivered(_NO_OTLP)
        from opentelemetry.instrumentation.utils import suppress_instrumentation
        from opentelemetry.sdk.trace.export import SpanExportResult

        with suppress_instrumentation():
            for start in range(0, len(spans), _EXPORT_SPANS):
                answer = self._otlp.export(spans[start : start + _EXPORT_SPANS])
                if answer is not SpanExportResult.SUCCESS:
                    self._otlp_failed = True
                    raise NotDelivered(_NO_OTLP)

    def close(self) -> None:
        """Stop all deliveries and exporters."""
        for backend in self._backends:
            backend.shutdown(0)
        if self._otlp is not None:
            self._otlp.shutdown()


def is_claimed(found: Replayed, spooled: Container[int]) -> bool:
    """Return whether the runs API delivers the root run; the result is kept in the folder.

    A root that the runs API refused went by OTLP. As long as that copy waits in the spool, it is left
    out there, and the run is posted after all, with its recording. The same applies if the copy was
    lost with the process.
    """
    header = found.header
    if not header.delivers_root or not found.by_otlp:
        return header.delivers_root

    def claim() -> None:
        lost = header.lists_spans and header.root_span_id not in found.stored
        if not lost and header.root_span_id not in spooled:
            raise NotDelivered(_WITHOUT_RECORDING)

    try:
        Progress(found.folder).once(_CLAIMED, claim)
    except NotDelivered:
        return False
    return True


def deliver(found: Replayed, to: Destinations, spooled: Mapping[int, int]) -> str:
    """Deliver everything that remains of one conversation.

    Args:
        found: the conversation.
        to: the destinations.
        spooled: the parent of each span that waits in the dead process's spool, by the span's id;
            these spans are sent from there.

    Returns:
        A short description of what was delivered.

    Raises:
        OnItsWay: the end of the root run has not been answered yet.
        NotDelivered: something was not delivered; nothing may be deleted.
    """
    header, progress = found.header, Progress(found.folder)
    rendered = _Rendered(found)
    by_runs_api = is_claimed(found, spooled)
    relay = None if found.ending is not None or progress.done(OTLP) else to.relay
    rebuilt = rebuild(found, marked=by_runs_api, spooled=spooled, relay=relay)
    rendered.about = rebuilt.about
    if relay is not None:
        progress.note(OTLP)
        relay.flush(min(to.left_s, _RELAY_S))
    below = [(span, member) for span, member in rebuilt.below if _id(span) not in spooled]
    steps: dict[str, Callable[[], None]] = {}
    if header.recordings_dir is not None:
        steps[KEPT] = lambda: rendered.keep(to)
    if found.ending is None and not progress.done(OTLP):
        missing = _no_exporter(header, to)
        if to.exports:
            steps[OTLP] = lambda: to.export([*(span for span, _ in below), rebuilt.root])
        elif missing is not None:
            steps[OTLP] = partial(_fail, missing)
    if header.leg == LEG_DIRECT:
        steps["spans"] = lambda: _send_spans(found, (rebuilt.again, below), to)
    if by_runs_api:
        steps[ROOT] = lambda: _send_root(found, rebuilt, to, rendered)
    elif header.delivers_root and header.recorded and header.recordings_dir is None:
        steps[ROOT] = _too_late
    reasons: list[NotDelivered] = []
    root: OnItsWay | None = None
    for name, step in steps.items():
        try:
            progress.once(name, step)
        except OnItsWay as late:
            root = late
        except NotDelivered as reason:
            reasons.append(reason)

    def outcome() -> str:
        if reasons:
            kind = AwaitsExporters if {*map(type, reasons)} == {AwaitsExporters} else NotDelivered
            raise kind("; ".join(dict.fromkeys(map(str, reasons))))
        what = rendered.status if by_runs_api else "delivered without LangSmith"
        missed = found.ending is None and header.exports and not progress.done(OTLP)
        return f"{what}; {_ONLY_LANGSMITH}" if missed else what

    def settle(root: OnItsWay) -> str:
        try:
            progress.once(ROOT, root.settle)
        except NotDelivered as reason:
            reasons.append(reason)
        return outcome()

    if root is not None:
        raise OnItsWay(partial(settle, root), root.is_answered)
    return outcome()


def _address(found: Replayed) -> tuple[str | None, str]:
    return api_url_of(found.header.backend), project_of(found.header.backend)


def _id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    return 0 if context is None else context.span_id


def _too_late() -> None:
    raise NotDelivered(_WITHOUT_RECORDING)


def _no_exporter(header: Header, to: Destinations) -> NotDelivered | None:
    """Return why open spans cannot go to the app's destinations; ``None``: they need not."""
    if header.exports is False:
        return None  # it exported nowhere
    if to.awaits_exporters and header.exports:
        return AwaitsExporters(_NO_EXPORTER)
    # On leg ``direct`` LangSmith gets all of them.
    return None if header.leg == LEG_DIRECT else NotDelivered(_NO_EXPORTER)


def _fail(reason: NotDelivered) -> None:
    raise reason


def _send_spans(
    found: Replayed, requests: Sequence[Sequence[tuple[ReadableSpan, Member]]], to: Destinations
) -> None:
    """Send spans request by request, because a 409 applies to all spans of a request."""
    if not any(requests):
        return
    exporter = to.spans(*_address(found))
    try:
        for spans in requests:
            for span, member in spans:
                exporter.put(span, cast("Stamp", member))
            if spans and not exporter.flush(to.left_s):
                raise NotDelivered("LangSmith did not take its spans")
    finally:
        exporter.shutdown(0)


def _send_root(found: Replayed, rebuilt: Rebuilt, to: Destinations, rendered: _Rendered) -> None:
    api_url, project = _address(found)
    roots = to.roots(api_url, project)
    outcome: list[bool] = []

    def done(delivered: bool, status: str) -> None:
        outcome.append(delivered)
        rendered.status = f"recording: {status}"

    progress = Progress(found.folder)
    if progress.done(POSTED):  # LangSmith has accepted it: it is not sent again
        root = roots.resume(rebuilt.opening)
    else:
        root = roots.open(rebuilt.opening, accepted=partial(progress.note, POSTED))
    root.finish(
        rebuilt.closing,
        recording=rendered.attachment,
        on_done=done,
        max_attachment_mb=found.header.max_attachment_mb,
    )

    def settle() -> None:
        roots.flush(to.left_s)
        if not outcome:
            to.retire(project)
            raise OnItsWay(settle, lambda: bool(outcome))
        if not outcome[0]:
            raise NotDelivered(root.refusal or "LangSmith refused its end")

    settle()


class _Rendered:
    """The recording of one conversation, rendered when it is first needed.

    Attributes:
        status: its outcome at LangSmith.
        about: the description stored in it.
    """

    def __init__(self, found: Replayed) -> None:
        self._found = found
        self._rendered: Rendered | None = None
        self.status = ""
        self.about = About()

    def attachment(self) -> Recording | None:
        """Return the attachment of the root run; ``None`` without a recording."""
        from otel_realtime.delivery.attachments import attachment

        path, audio_format = self._render(), self._found.header.audio_format
        if path is None or self._rendered is None:
            return None
        return attachment(path, audio_format, self._rendered.loudness)

    def keep(self, to: Destinations) -> None:
        """Copy it to the folder or bucket that the dead process's settings name.

        Raises:
            NotDelivered: it cannot be written there, or this process does not keep recordings there.
        """
        header = self._found.header
        if not header.recorded or not self._found.sound.summary().has_audio:
            return
        if header.recordings_dir is not None and not to.keeps_in(header.recordings_dir):
            raise NotDelivered(
                f"its recording belongs in {without_password(header.recordings_dir)}: "
                "set OTEL_REALTIME_RECORDINGS_DIR to it"
            )
        try:
            path = self._render()
        except RecordingError as error:
            logger.warning("%s", error)
            return
        if path is not None and header.recordings_dir is not None:
            try:
                keep(path, header.recordings_dir, header.name)
            except RecordingError as error:
                raise NotDelivered(str(error)) from error
            self._describe(header.recordings_dir)

    def _describe(self, directory: str) -> None:
        """Write the call as a JSON object beside the copy; a failure affects nothing else."""
        name, rendered = self._found.header.name, self._rendered
        try:
            if rendered is not None:
                file = f"{name}{rendered.path.suffix}"
                about = (self._found.folder, file, rendered.duration_s, rendered.rate_hz)
                keep_beside(text_of(self._found.sound, *about), directory, name)
        except BaseException as error:  # noqa: BLE001 - logged; the recording is kept
            let_through(error)
            logger.warning("recording %s is kept without its JSON: %s", name, error)

    def _render(self) -> Path | None:
        found = self._found
        if not found.header.recorded or not found.sound.summary().has_audio:
            return None
        if self._rendered is None:
            for planted in found.folder.glob(f"{Path(_WAV).stem}.*"):
                clear(planted)
            self._rendered = render(found.folder, found.folder / _WAV, about=self.about)
        return None if self._rendered is None else self._rendered.path
