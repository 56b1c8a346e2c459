"""The services that the conversations of one process share; the composition root of the package.

Services are created on first use and passed down: a conversation gets the process, a trace gets its
route, and a route gets its backend. A forked child starts without any of them, because conversations
belong to the process that opened them and a child would send everything a second time.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from opentelemetry import trace

from otel_realtime import diagnostics, tap
from otel_realtime.background import Again, Worker
from otel_realtime.diagnostics import logger_of
from otel_realtime.langsmith.app_exports import has_exporter
from otel_realtime.process.loading import Loading
from otel_realtime.process.providers import Providers
from otel_realtime.process.recoveries import Recoveries
from otel_realtime.process.sigterm import SigtermWatch
from otel_realtime.process.waiting import WaitingRoom
from otel_realtime.settings import Settings
from otel_realtime.state.bounds import make_room, tidy_sometimes
from otel_realtime.state.quota import quota_of
from otel_realtime.tracing.members import TABLE, FindParent, Membership, MembershipProcessor

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider as _SdkProvider
    from opentelemetry.trace import TracerProvider

    from otel_realtime.delivery.finisher import Finisher
    from otel_realtime.delivery.model import Backend
    from otel_realtime.recording.writer import Writer
    from otel_realtime.tracing.route import ChooseRoute, Route, Services

logger = logger_of(__name__)

#: Interval at which sockets are checked for a closed event loop, on which nobody can close them.
_POLL_S: Final = 1.0
#: Seconds after which a running recovery no longer delays the next one.
_PATIENCE_S: Final = 5.0
#: Longest possible conversation, in seconds: the API ends a session after an hour.
#: https://platform.openai.com/docs/guides/realtime-conversations#session-lifecycle-events
LONGEST_CALL_S: Final = 3600.0

#: Log messages at exit, by value of ``Settings.deliver``.
_LEFT: Final = {
    "process": "not everything was delivered to LangSmith within exit_timeout_s=%g: the rest stays in "
    "%s, where the next start or `otel-realtime recover` delivers it",
    "worker": "not everything could be written within exit_timeout_s=%g: a worker delivers what is in %s",
}


def may_last(opened_at: float | None) -> bool:
    """Return whether a conversation whose end is not observed may still be open.

    Args:
        opened_at: ``time.monotonic()`` when it was opened; ``None`` if there was no conversation.
    """
    return opened_at is not None and time.monotonic() - opened_at < LONGEST_CALL_S


def _to_langsmith(
    settings: Settings, provider: object, services: Services, project: str | None = None, /
) -> Route:
    from otel_realtime.langsmith.route import choose_route

    return choose_route(settings, provider, services, project)


class LiveConversation(Protocol):
    """A conversation as the process sees it; implemented by ``conversation.engine.Engine``."""

    @property
    def folder(self) -> Path | None:
        """Folder of the journal and the audio; ``None`` if the conversation is not on disk."""
        ...

    @property
    def ends_on_sigterm(self) -> bool:
        """``Settings.end_on_sigterm`` of this conversation."""
        ...

    def close(self) -> None:
        """End the conversation."""

    def drop(self) -> None:
        """Forget the conversation in a forked child, without ending it."""


class Process:
    """The services of this process; there is one instance, ``PROCESS``. Thread-safe.

    Args:
        choose_route: decides where conversations are delivered; by default to LangSmith.

    Attributes:
        choose_route: as given; tests replace it.
        sigterm: handler of SIGTERM, for ``Settings.end_on_sigterm``.
        settings: settings passed to ``instrument()``; ``None`` means that the environment's apply.
        tracer_provider: provider passed to ``instrument()``; ``None`` means the global one.
        meter_provider: provider passed to ``instrument()``; ``None`` means the global one.
        loading: imports what conversations need.
        recoveries: delivers what dead processes left.
        live: open conversations.
        waiting: open conversations whose socket has closed and that may continue on another one.
    """

    def __init__(self, choose_route: ChooseRoute = _to_langsmith) -> None:
        self.choose_route = choose_route
        self.sigterm = SigtermWatch(self.close_all, self._deliver_before_death)
        self.settings: Settings | None = None
        self.tracer_provider: TracerProvider | None = None
        self.meter_provider: MeterProvider | None = None
        self._exit_registered = False
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._backends: dict[Hashable, Backend] = {}
        # Weak keys, so that a provider that the app replaces can be collected.
        self._processors: weakref.WeakKeyDictionary[_SdkProvider, MembershipProcessor] = (
            weakref.WeakKeyDictionary()
        )
        self._providers = Providers()
        # Several threads: a recovery may take minutes, there may be another one for another state
        # directory, and abandoned sockets are checked every second.
        self._chores = Worker("otel-realtime-chores", 2, patience_s=_PATIENCE_S, most=8)
        self._polls = False
        self.loading = Loading(self._chores)
        self.recoveries = Recoveries(self._chores, self.live_folders, self._exporting_provider)
        self._bounded: dict[Path, Settings] = {}  # settings of conversations, by state directory
        self._finisher: Finisher | None = None
        self.live: set[LiveConversation] = set()
        self.waiting: WaitingRoom[LiveConversation] = WaitingRoom()
        self._left_out_at: float | None = None

    @property
    def effective_settings(self) -> Settings:
        """Settings of the process: those of ``instrument()``, else the environment's."""
        return self.settings or Settings()

    # -- services, created on first use ------------------------------------------------------------

    @property
    def writer(self) -> Writer:
        """Background writer of recordings."""
        with self._lock:
            if self._writer is None:
                from otel_realtime.recording.writer import Writer

                self._writer = Writer()
            return self._writer

    @property
    def finisher(self) -> Finisher:
        """Renders and delivers closed conversations."""
        with self._lock:
            if self._finisher is None:
                from otel_realtime.delivery.finisher import Finisher

                self._finisher = Finisher()
            return self._finisher

    def route(self, settings: Settings, provider: object, project: str | None = None) -> Route:
        """Decide where a conversation that opens now is delivered.

        Args:
            settings: settings of the conversation.
            provider: the app's ``TracerProvider``.
            project: the backend's project that the app named; ``None`` means the environment's.
        """
        return self.choose_route(settings, provider, self, project)

    def backend(self, key: Hashable, make: Callable[[], Backend]) -> Backend:
        """Return the backend for a key, created once; the process flushes and stops it.

        Args:
            key: identifies the backend and its address.
            make: creates it.
        """
        with self._lock:
            backend = self._backends.get(key)
            if backend is None:
                backend = self._backends[key] = make()
            return backend

    def tidy(self, settings: Settings) -> None:
        """Delete the oldest undelivered data if the state directory exceeds its limits."""
        tidy_sometimes(settings, self.live_folders())

    def _make_room(self, settings: Settings, needed: int, keep: Path | None) -> None:
        """Delete the oldest undelivered data to make room for data about to be written."""
        live = self.live_folders()
        make_room(settings, live if keep is None else live | {keep}, needed)

    def live_folders(self) -> set[Path]:
        """Return the folders of this process's open conversations."""
        folders = (conversation.folder for conversation in list(self.live))
        return {folder for folder in folders if folder is not None}

    def tracer_provider_for(self, given: TracerProvider | None) -> TracerProvider:
        """Return the provider of a conversation: the given one, else ``instrument()``'s, else the global one.

        This is called when a conversation opens, so a provider set after ``instrument()`` is found.
        """
        return given or self.tracer_provider or trace.get_tracer_provider()

    def _exporting_provider(self) -> object:
        """Return the app's provider, preferably one that has an exporter."""
        first = self.tracer_provider_for(None)
        with self._lock:
            providers: list[object] = [first, *self._processors]
        return next(filter(has_exporter, providers), first)

    def attach_processor(self, provider: object, find_parent: FindParent | None = None) -> bool:
        """Add our span processor to a provider, once.

        Args:
            provider: the provider.
            find_parent: finds the parent of spans that were started without one.

        Returns:
            ``False`` for a provider of another SDK, which accepts no processors and is left alone.
        """
        self._providers.add(provider)
        add = getattr(provider, "add_span_processor", None)
        if add is None:
            return False
        sdk_provider = cast("_SdkProvider", provider)
        with self._lock:
            if sdk_provider in self._processors:
                return True
            processor = MembershipProcessor(self.flush_backends, find_parent=find_parent)
            self._processors[sdk_provider] = processor
            # The provider may shut itself down at exit. ``atexit`` calls in reverse order of registration,
            # so we must register again to end our conversations before that:
            # https://docs.python.org/3/library/atexit.html
            self._exit_registered = False
        add(processor)
        return True

    def deactivate_processors(self) -> None:
        """Make our processors ignore all spans; OpenTelemetry cannot remove a processor."""
        with self._lock:
            processors = list(self._processors.values())
            self._processors.clear()
        for processor in processors:
            processor.deactivate()

    # -- conversations -----------------------------------------------------------------------------

    def opened(self, conversation: LiveConversation, settings: Settings) -> None:
        """Register an open conversation, so that it is ended and delivered at exit.

        The first conversation of a state directory also schedules the recovery there, for apps that
        do not call ``instrument()``.

        Args:
            conversation: the conversation.
            settings: settings of the conversation.
        """
        self._bounded[settings.state_dir] = settings
        quota_of(settings.state_dir).limit(
            settings.state_max_mb * 1_000_000, partial(self._make_room, settings)
        )
        # Start the threads that delivery needs now, because an exiting interpreter cannot start any.
        self.finisher.start(settings)
        with self._lock:
            self.live.add(conversation)
            first, self._exit_registered = not self._exit_registered, True
            polls, self._polls = not self._polls, True
        if polls:
            self._chores.resume()
            self._chores.submit(self._end_abandoned, after_s=_POLL_S, repeats=True)
        self.recoveries.schedule(settings)
        if first:
            atexit.unregister(self._at_exit)
            atexit.register(self._at_exit)
        if conversation.ends_on_sigterm:
            self.sigterm.install()

    def closed(self, conversation: LiveConversation) -> None:
        """Remove a conversation whose spans have ended; its delivery may still be in progress."""
        with self._lock:
            self.live.discard(conversation)
        self.waiting.forget(conversation)

    def leave_out(self) -> None:
        """Note a conversation that is not traced."""
        self._left_out_at = time.monotonic()

    @property
    def has_left_out(self) -> bool:
        """Whether there may be an open conversation that is not traced."""
        return may_last(self._left_out_at)

    def finished(self, membership: Membership) -> None:
        """Forget the members of a conversation that has been delivered or given up."""
        TABLE.forget(membership)

    def _end_abandoned(self) -> Again | None:
        """End conversations whose event loop was closed, as ``asyncio.run`` closes its loop at the end."""
        with self._lock:
            if not self.live:
                self._polls = False
                return None
        tap.end_abandoned()
        self.waiting.end_overdue(time.monotonic_ns())
        # Tidy now: other processes' data also counts, and this process's conversations have not ended yet.
        for settings in list(self._bounded.values()):
            try:
                self.tidy(settings)
            except BaseException as error:  # noqa: BLE001 - this job must run again
                diagnostics.report("tidying", error)
        return Again(_POLL_S)

    # -- flush, shutdown, exit and fork ------------------------------------------------------------

    def flush(self, timeout_s: float) -> bool:
        """Deliver everything that is pending; see ``otel_realtime.flush``.

        A conversation that waits for another socket ends, because its data is pending too.
        """
        deadline = time.monotonic() + timeout_s
        self.waiting.end_all()
        self._hurry_backends()
        # The finisher comes first: it enqueues the ends of root runs at the backends.
        done = self.finisher.flush(timeout_s)
        return self.flush_backends(max(deadline - time.monotonic(), 0.0)) and done

    def flush_backends(self, timeout_s: float) -> bool:
        """Deliver what the backends have enqueued.

        Args:
            timeout_s: longest wait, in seconds.

        Returns:
            ``True`` only if all of it was accepted.
        """
        deadline = time.monotonic() + timeout_s
        self._hurry_backends()
        done = True
        for backend in list(self._backends.values()):
            done = backend.flush(max(deadline - time.monotonic(), 0.0)) and done
        return done

    def _hurry_backends(self) -> None:
        """Make all backends deliver at the same time, because an unreachable one may use up the time."""
        for backend in list(self._backends.values()):
            backend.hurry()

    def deliver_all(self, timeout_s: float) -> bool:
        """Deliver everything that is pending, and what the app's own exporters hold.

        Both run at the same time, so that neither waits for an unreachable destination of the other.

        Args:
            timeout_s: longest wait, in seconds.

        Returns:
            ``True`` only if everything was accepted; for the app's exporters, as they report it.
        """
        deadline = time.monotonic() + timeout_s

        def left_s() -> float:
            return max(deadline - time.monotonic(), 0.0)

        exports = self._providers.start_flush(timeout_s, self.meter_provider)
        done = self.flush(timeout_s)
        # Flush spans that ended meanwhile and metrics that the finisher recorded.
        rest = exports.repeat(left_s())
        done = exports.wait(left_s()) and done
        return rest.wait(left_s()) and done

    def shutdown(self, timeout_s: float) -> bool:
        """End open conversations, deliver them, flush the app's exporters, and stop all threads.

        A conversation that opens later starts the threads again.

        Args:
            timeout_s: longest wait, in seconds.

        Returns:
            ``True`` only if everything was accepted.
        """
        deadline = time.monotonic() + timeout_s

        def left_s() -> float:
            return max(deadline - time.monotonic(), 0.0)

        self.close_all()
        self._left_out_at = None
        done = self.deliver_all(timeout_s)
        with self._lock:
            backends, self._backends = list(self._backends.values()), {}
            writer, self._writer = self._writer, None
            self._polls = False
        for backend in backends:
            done = backend.stop(left_s()) and done
        self.finisher.stop(left_s())
        if writer is not None:
            writer.shutdown(left_s())
        self._chores.stop(left_s())
        self.recoveries.forget()
        tap.stop_timers(left_s())
        return done

    def close_all(self) -> None:
        """End all open conversations."""
        for conversation in list(self.live):
            conversation.close()

    def _deliver_before_death(self) -> None:
        """Deliver everything after a SIGTERM, because nothing else may run afterwards."""
        self.deliver_all(self.effective_settings.exit_timeout_s)

    def _at_exit(self) -> None:
        settings = self.effective_settings
        self.close_all()
        if not self.flush(settings.exit_timeout_s) and self._backends:
            logger.warning(_LEFT[settings.deliver], settings.exit_timeout_s, settings.state_dir)
        # Otherwise the provider's own shutdown would flush the backends, and wait, once more.
        self.deactivate_processors()

    def after_fork(self) -> None:
        """Forget everything in a forked child, without closing or sending anything."""
        for conversation in self.live:
            conversation.drop()
        self.waiting.forget_all()
        for backend in self._backends.values():
            backend.reset_after_fork()
        for processor in self._processors.values():
            processor.deactivate()
        TABLE.reset_after_fork()
        self._reset()


#: The only instance.
PROCESS: Final = Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: PROCESS.loading.wait(), after_in_child=PROCESS.after_fork)
