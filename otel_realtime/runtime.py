"""What conversations of one process share: the writer, the deliveries, the way out.

Nothing here is made before the first conversation opens. A fork's child starts over with
nothing: conversations belong to the process that opened them.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from otel_realtime import tap
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.spool import Spool
from otel_realtime.langsmith.stamping import (
    TABLE,
    ConversationProcessor,
    Stamp,
    TraceStamp,
    forget,
)
from otel_realtime.recording.finish import Finisher
from otel_realtime.settings import Settings
from otel_realtime.sigterm import SigtermWatch

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import TracerProvider

    from otel_realtime.engine import Engine
    from otel_realtime.langsmith.delivery import Deliveries
    from otel_realtime.langsmith.exporter import DirectExporter
    from otel_realtime.recording.writer import Writer

logger = logging.getLogger(__name__)


_ROUTES: Final = 4096
#: How often sockets are looked at that nobody may ever close.
_LOOK_S: Final = 1.0


class LangSmith:
    """This process's deliveries to one LangSmith: root runs and the spans below them."""

    def __init__(self, config: LangSmithConfig, spool: Spool) -> None:
        from otel_realtime.langsmith.delivery import Deliveries
        from otel_realtime.langsmith.exporter import DirectExporter

        self.config = config
        self.roots: Deliveries = Deliveries(config)
        self.spans: DirectExporter = DirectExporter(config, spool=spool)


class _Router:
    """Hands each ended span to the exporter its conversation was opened with."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def put(self, span: ReadableSpan, stamp: Stamp) -> bool:
        target = self._runtime.routes.get(stamp.trace.root_run_id)
        return target.spans.put(span, stamp) if target is not None else False

    def flush(self, timeout_s: float) -> bool:
        return self._runtime.flush_spans(timeout_s)


class Runtime:
    """The process-wide part; one instance, ``RUNTIME``."""

    def __init__(self) -> None:
        self.sigterm = SigtermWatch(self.close_all, self._deliver_all)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._targets: dict[LangSmithConfig, LangSmith] = {}
        self._processors: weakref.WeakKeyDictionary[Any, ConversationProcessor] = (
            weakref.WeakKeyDictionary()
        )
        self._exit_registered = False
        self._look_next = 0.0
        self._recovers = False
        #: Root run -> where its spans go; kept a while after the close for spans that end late.
        self.routes: dict[str, LangSmith] = {}
        self.finisher = Finisher()
        self.live: set[Engine] = set()
        #: What ``instrument()`` was given; used by conversations that open afterwards.
        self.settings: Settings | None = None
        self.tracer_provider: TracerProvider | None = None
        self.meter_provider: Any = None

    # -- made on first use -------------------------------------------------------------------------

    @property
    def writer(self) -> Writer:
        """The background writer of recordings."""
        with self._lock:
            if self._writer is None:
                from otel_realtime.recording.writer import Writer

                self._writer = Writer()
            return self._writer

    def target(self, config: LangSmithConfig, settings: Settings) -> LangSmith:
        """The deliveries for one LangSmith configuration; its spool is in the state directory."""
        with self._lock:
            found = self._targets.get(config)
            if found is None:
                spool = Spool(settings.state_dir, config, partial(self.tidy, settings))
                found = self._targets[config] = LangSmith(config, spool)
            return found

    def tidy(self, settings: Settings) -> None:
        """Hold the state directory within its bounds."""
        from otel_realtime.recovery.disk import tidy_sometimes

        tidy_sometimes(settings, [one.folder for one in list(self.live) if one.folder])

    def attach_processor(self, provider: object) -> None:
        """Let our processor see the provider's spans; once per provider."""
        add = getattr(provider, "add_span_processor", None)
        if add is None:
            return
        with self._lock:
            if provider in self._processors:
                return
            processor = ConversationProcessor(_Router(self))
            self._processors[provider] = processor
            # The provider may shut itself down at exit; what came later ends first.
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

    def opened(self, conversation: Engine, settings: Settings) -> None:
        """Remember a live conversation; from now on the exit waits for it.

        The first one of the process also sets off what is left of processes that died.
        """
        self.finisher.start(settings)
        with self._lock:
            self.live.add(conversation)
            first, self._exit_registered = not self._exit_registered, True
            recover, self._recovers = not self._recovers and settings.recover_on_start, True
        if recover:
            from otel_realtime.recovery.start import recover_in_background

            recover_in_background(settings)
        if first:
            atexit.unregister(self._at_exit)
            atexit.register(self._at_exit)
        if conversation.ends_on_sigterm:
            self.sigterm.install()

    def closed(self, conversation: Engine) -> None:
        """The conversation's spans have ended; its delivery may go on."""
        with self._lock:
            self.live.discard(conversation)

    def look_around(self) -> None:
        """On the writer thread, about every second: end conversations that the app left behind."""
        now = time.monotonic()
        if now >= self._look_next:
            self._look_next = now + _LOOK_S
            tap.end_deserted()

    def finished(self, stamp: TraceStamp) -> None:
        """Nothing of the conversation is left to do."""
        forget(stamp)
        while len(self.routes) > _ROUTES:
            self.routes.pop(next(iter(self.routes)), None)

    # -- the way out ---------------------------------------------------------------------------------

    def flush(self, timeout_s: float) -> bool:
        """Deliver everything that is on its way; see ``otel_realtime.flush``."""
        deadline = time.monotonic() + timeout_s

        def left() -> float:
            return max(deadline - time.monotonic(), 0.0)

        done = self.finisher.flush(left())
        done = self.flush_spans(left()) and done
        for target in list(self._targets.values()):
            done = target.roots.flush(left()) and done
        return done

    def flush_spans(self, timeout_s: float) -> bool:
        """Deliver the spans of our own LangSmith leg."""
        deadline = time.monotonic() + timeout_s
        done = True
        for target in list(self._targets.values()):
            done = target.spans.flush(max(deadline - time.monotonic(), 0.0)) and done
        return done

    def shutdown(self, timeout_s: float) -> bool:
        """End live conversations, deliver, and stop what runs in the background."""
        deadline = time.monotonic() + timeout_s
        self.close_all()
        done = self.flush(timeout_s)
        left = max(deadline - time.monotonic(), 0.0)
        for target in list(self._targets.values()):
            done = target.spans.shutdown(left) and target.roots.shutdown(left) and done
        with self._lock:
            self._targets.clear()
            writer, self._writer = self._writer, None
        if writer is not None:
            writer.shutdown(max(deadline - time.monotonic(), 0.0))
        return done

    def close_all(self) -> None:
        """End every live conversation."""
        for conversation in list(self.live):
            conversation.close()

    def _deliver_all(self) -> None:
        """Everything on its way goes out, what the app's exporters hold included."""
        settings = self.settings or Settings()
        deadline = time.monotonic() + settings.exit_timeout_s
        for provider in list(self._processors):
            left = max(deadline - time.monotonic(), 0.0)
            provider.force_flush(int(left * 1000))
        self.flush(max(deadline - time.monotonic(), 0.0))

    def _at_exit(self) -> None:
        settings = self.settings or Settings()
        self.close_all()
        if self._targets and not self.flush(settings.exit_timeout_s):
            logger.warning(
                "not everything was delivered to LangSmith within exit_timeout_s=%g; "
                "undelivered recordings stay under %s",
                settings.exit_timeout_s,
                settings.state_dir,
            )
        else:
            self.finisher.flush(settings.exit_timeout_s)
        self.deactivate_processors()  # the provider's own end must not wait a second time

    def after_fork(self) -> None:
        """In a fork's child: forget everything, close and send nothing."""
        for conversation in self.live:
            conversation.drop()
        for target in self._targets.values():
            target.roots.reset_after_fork()
            target.spans.reset_after_fork()
        for processor in self._processors.values():
            processor.deactivate()
        TABLE.reset_after_fork()
        settings, provider, meters = self.settings, self.tracer_provider, self.meter_provider
        registered = self._exit_registered
        self._reset()
        self._exit_registered = registered
        self.settings, self.tracer_provider, self.meter_provider = settings, provider, meters


RUNTIME = Runtime()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RUNTIME.after_fork)


def current_provider(given: TracerProvider | None) -> TracerProvider:
    """The provider conversations trace to: the given one, ``instrument()``'s, or the global one.

    Read when a conversation opens, so a provider that is set later is found.
    """
    return given or RUNTIME.tracer_provider or trace.get_tracer_provider()
