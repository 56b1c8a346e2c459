"""What the conversations of one process share; this is where its services are put together.

Nothing here is made before it is needed. Services are handed down: a conversation gets the process,
a trace its route, the route its backend. A fork's child starts over with nothing: conversations
belong to the process that opened them.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from opentelemetry import trace

from otel_realtime import tap
from otel_realtime.background import Again, Worker
from otel_realtime.delivery.finisher import Finisher
from otel_realtime.langsmith.route import choose_route
from otel_realtime.process.sigterm import SigtermWatch
from otel_realtime.settings import Settings
from otel_realtime.state.bounds import tidy_sometimes
from otel_realtime.tracing.members import TABLE, Membership, MembershipProcessor

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from otel_realtime.delivery.model import Backend
    from otel_realtime.recording.writer import Writer
    from otel_realtime.tracing.route import ChooseRoute, Route

logger = logging.getLogger(__name__)

#: How often sockets are looked at that nobody may ever close.
_LOOK_S: Final = 1.0
#: The first conversation of the process comes before what others left.
_RECOVERY_DELAY_S: Final = 1.0
_RECOVERY_TIMEOUT_S: Final = 600.0


class LiveConversation(Protocol):
    """A conversation as the process sees it."""

    @property
    def folder(self) -> Path | None:
        """Where it stands on disk."""
        ...

    @property
    def ends_on_sigterm(self) -> bool:
        """``Settings.end_on_sigterm`` as it is for this conversation."""
        ...

    def close(self) -> None:
        """End it."""

    def drop(self) -> None:
        """In a fork's child: let go of it without ending it."""


class Process:
    """The services of this process; one instance, ``PROCESS``.

    Args:
        choose_route: decides where conversations go; LangSmith's, unless another backend is used.

    Attributes:
        live: conversations that go on.
        settings: what ``instrument()`` was given, for conversations that open afterwards; so are
            ``tracer_provider`` and ``meter_provider``.
        finisher: renders and hands over closed conversations.
    """

    def __init__(self, choose_route: ChooseRoute = choose_route) -> None:
        self.choose_route = choose_route
        self.sigterm = SigtermWatch(self.close_all, self._deliver_all)
        self.settings: Settings | None = None
        self.tracer_provider: TracerProvider | None = None
        self.meter_provider: Any = None
        self._exit_registered = False
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._backends: dict[Hashable, Backend] = {}
        self._processors: weakref.WeakKeyDictionary[Any, MembershipProcessor] = (
            weakref.WeakKeyDictionary()
        )
        self._chores = Worker("otel-realtime-chores", 2)
        self._looks = False
        self._recovers = False
        self.finisher = Finisher()
        self.live: set[Any] = set()

    @property
    def effective_settings(self) -> Settings:
        """The settings of the process: ``instrument()``'s, else the environment's."""
        return self.settings or Settings()

    # -- made on first use -------------------------------------------------------------------------

    @property
    def writer(self) -> Writer:
        """The background writer of recordings."""
        with self._lock:
            if self._writer is None:
                from otel_realtime.recording.writer import Writer

                self._writer = Writer()
            return self._writer

    def route(self, settings: Settings, provider: object) -> Route:
        """Decide where a conversation goes that opens now."""
        return self.choose_route(settings, provider, self)

    def backend(self, key: Hashable, make: Callable[[], Backend]) -> Backend:
        """Return the backend of that key; it is made once, and flushed and stopped from here."""
        with self._lock:
            backend = self._backends.get(key)
            if backend is None:
                backend = self._backends[key] = make()
            return backend

    def tidy(self, settings: Settings) -> None:
        """Hold the state directory within its bounds."""
        tidy_sometimes(settings, self.live_folders())

    def live_folders(self) -> set[Path]:
        """Folders of this process's conversations that are not over."""
        folders = (conversation.folder for conversation in list(self.live))
        return {folder for folder in folders if folder is not None}

    def tracer_provider_for(self, given: TracerProvider | None) -> TracerProvider:
        """The provider of a conversation: the given one, ``instrument()``'s, or the global one.

        Asked when a conversation opens, so a provider that is set later is found.
        """
        return given or self.tracer_provider or trace.get_tracer_provider()

    def attach_processor(self, provider: object) -> None:
        """Let our processor see the provider's spans; once per provider."""
        add = getattr(provider, "add_span_processor", None)
        if add is None:
            return
        with self._lock:
            if provider in self._processors:
                return
            processor = MembershipProcessor(self.flush_backends)
            self._processors[provider] = processor
            # The provider may shut itself down at exit; what is registered later ends first.
            self._exit_registered = False
        add(processor)

    def deactivate_processors(self) -> None:
        """OpenTelemetry cannot remove a processor; ours do nothing from now on."""
        with self._lock:
            processors = list(self._processors.values())
            self._processors.clear()
        for processor in processors:
            processor.deactivate()

    # -- conversations -------------------------------------------------------------------------------

    def opened(self, conversation: LiveConversation, settings: Settings) -> None:
        """Remember a live conversation; from now on the exit waits for it.

        The first one of the process also starts the recovery of what dead processes left.
        """
        self.finisher.start(settings)
        with self._lock:
            self.live.add(conversation)
            first, self._exit_registered = not self._exit_registered, True
            recover, self._recovers = not self._recovers and settings.recover_on_start, True
            looks, self._looks = not self._looks, True
        if looks:
            self._chores.resume()
            self._chores.submit(self._end_abandoned, after_s=_LOOK_S)
        if recover:
            self._chores.submit(partial(self._recover, settings), after_s=_RECOVERY_DELAY_S)
        if first:
            atexit.unregister(self._at_exit)
            atexit.register(self._at_exit)
        if conversation.ends_on_sigterm:
            self.sigterm.install()

    def closed(self, conversation: LiveConversation) -> None:
        """The conversation's spans have ended; its delivery may go on."""
        with self._lock:
            self.live.discard(conversation)

    def finished(self, membership: Membership) -> None:
        """Nothing of the conversation is left to do."""
        TABLE.forget(membership)

    def _end_abandoned(self) -> Again | None:
        """End conversations whose event loop was closed under them."""
        with self._lock:
            if not self.live:
                self._looks = False
                return None
        tap.end_abandoned()
        return Again(_LOOK_S)

    def _recover(self, settings: Settings) -> None:
        """Deliver what dead processes left."""
        from otel_realtime.recovery.sweep import has_work, recover

        if not has_work(settings.state_dir):
            return
        report = recover(
            settings,
            timeout_s=_RECOVERY_TIMEOUT_S,
            live=self.live_folders,
            say=partial(logger.debug, "%s"),
        )
        if report.conversations or report.spans or report.spans_left:
            logger.info(
                "delivered %d conversations and %d spans of processes that died; "
                "%d and %d are left for `otel-realtime recover`",
                len(report.conversations) - report.left,
                report.spans,
                report.left,
                report.spans_left,
            )

    # -- the way out ---------------------------------------------------------------------------------

    def flush(self, timeout_s: float) -> bool:
        """Deliver everything that is on its way; see ``otel_realtime.flush``."""
        deadline = time.monotonic() + timeout_s
        done = self.finisher.flush(timeout_s)
        return self.flush_backends(max(deadline - time.monotonic(), 0.0)) and done

    def flush_backends(self, timeout_s: float) -> bool:
        """Deliver what the backends took."""
        deadline = time.monotonic() + timeout_s
        done = True
        for backend in list(self._backends.values()):
            done = backend.flush(max(deadline - time.monotonic(), 0.0)) and done
        return done

    def shutdown(self, timeout_s: float) -> bool:
        """End live conversations, deliver, and stop every thread."""
        deadline = time.monotonic() + timeout_s

        def left_s() -> float:
            return max(deadline - time.monotonic(), 0.0)

        self.close_all()
        done = self.flush(timeout_s)
        with self._lock:
            backends, self._backends = list(self._backends.values()), {}
            writer, self._writer = self._writer, None
            self._looks = False
        for backend in backends:
            done = backend.stop(left_s()) and done
        self.finisher.stop(left_s())
        if writer is not None:
            writer.shutdown(left_s())
        self._chores.stop(left_s())
        tap.stop_timers(left_s())
        return done

    def close_all(self) -> None:
        """End every live conversation."""
        for conversation in list(self.live):
            conversation.close()

    def _deliver_all(self) -> None:
        """Everything on its way goes out, what the app's exporters hold included."""
        deadline = time.monotonic() + self.effective_settings.exit_timeout_s
        for provider in list(self._processors):
            provider.force_flush(int(max(deadline - time.monotonic(), 0.0) * 1000))
        self.flush(max(deadline - time.monotonic(), 0.0))

    def _at_exit(self) -> None:
        settings = self.effective_settings
        self.close_all()
        if not self.flush(settings.exit_timeout_s) and self._backends:
            logger.warning(
                "not everything was delivered to LangSmith within exit_timeout_s=%g; "
                "undelivered recordings stay in %s",
                settings.exit_timeout_s,
                settings.state_dir,
            )
        self.deactivate_processors()  # the provider's own end must not wait a second time

    def after_fork(self) -> None:
        """In a fork's child: forget everything, close and send nothing."""
        for conversation in self.live:
            conversation.drop()
        for backend in self._backends.values():
            backend.reset_after_fork()
        for processor in self._processors.values():
            processor.deactivate()
        TABLE.reset_after_fork()
        self._reset()


PROCESS: Final = Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PROCESS.after_fork)
