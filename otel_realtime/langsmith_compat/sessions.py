"""``wrap_realtime_session``: traces a session of the OpenAI Agents SDK, whose socket is private."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from otel_realtime import tap
from otel_realtime.conversation.options import Options, within
from otel_realtime.conversation.services import PROCESS, SOCKETS
from otel_realtime.conversation.sockets import Sockets
from otel_realtime.diagnostics import logger_of, walled, warn_once
from otel_realtime.langsmith_compat.arguments import (
    DEFAULT_MAX_AUDIO_SECONDS,
    DEFAULT_SAMPLE_RATE,
    Plan,
)
from otel_realtime.langsmith_compat.block import Block
from otel_realtime.langsmith_compat.lines import Lines
from otel_realtime.setup.instrumentor import OpenAIRealtimeInstrumentor

if TYPE_CHECKING:
    from langsmith import Client
    from langsmith.address import AgentAddress
    from langsmith.run_trees import WriteReplica

logger = logger_of(__name__)


def wrap_realtime_session(
    session: Any,
    *,
    thread_id: str | None = None,
    sample_rate: int = DEFAULT_SAMPLE_RATE,
    project_name: str | None = None,
    address: AgentAddress | None = None,
    tags: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
    on_message: Callable[[str, str], None] | None = None,
    max_audio_seconds: float | None = DEFAULT_MAX_AUDIO_SECONDS,
    client: Client | None = None,
    replicas: Sequence[WriteReplica] | None = None,
) -> _TracedSession:
    """Trace one session of the OpenAI Agents SDK, like LangSmith's ``wrap_realtime_session``.

    Args:
        session: the return value of ``RealtimeRunner.run()``; entering the proxy enters it.
        thread_id: as for ``wrap_realtime``.
        sample_rate: as for ``wrap_realtime``.
        project_name: as for ``wrap_realtime``.
        address: as for ``wrap_realtime``.
        tags: as for ``wrap_realtime``.
        metadata: as for ``wrap_realtime``.
        on_message: called with the role and text of each line of the transcript.
        max_audio_seconds: as for ``wrap_realtime``.
        client: as for ``wrap_realtime``.
        replicas: as for ``wrap_realtime``.

    Returns:
        A transparent proxy of the session, to be entered in its place.

    Added after 0.1.0.
    """
    plan = Plan.of(
        thread_id=thread_id,
        project_name=project_name,
        address=address,
        tags=tags,
        metadata=metadata,
        max_audio_seconds=max_audio_seconds,
        client=client,
        replicas=replicas,
    )
    return _TracedSession(session, plan, sample_rate, on_message)


class _Gate:
    """Says whether a session is being entered; tasks started meanwhile inherit it and see it close."""

    def __init__(self, is_open: bool) -> None:
        self.is_open = is_open


_CLOSED: Final = _Gate(False)
_gate: ContextVar[_Gate] = ContextVar("otel_realtime_gate", default=_CLOSED)


class _OnlyWrapped(Sockets):
    """Sees only the sockets that a wrapped session opens, and ignores all others of the process."""

    def is_realtime(self, path: str) -> bool:
        return _gate.get().is_open and super().is_realtime(path)


_ONLY_WRAPPED: Final = _OnlyWrapped(PROCESS)


@contextmanager
def _tapped(options: Options) -> Iterator[None]:
    """Observe the socket that is opened inside the block, starting with its handshake."""
    _install()
    gate = _Gate(True)
    token = _gate.set(gate)
    try:
        with within(options):
            yield
    finally:
        gate.is_open = False
        _gate.reset(token)


@walled
def _install() -> None:
    instrumentor = OpenAIRealtimeInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        tap.install(_ONLY_WRAPPED)
        if instrumentor.is_instrumented_by_opentelemetry:  # by another thread, meanwhile
            tap.install(SOCKETS)


@walled
def _socket_of(session: Any) -> object:
    """Return the WebSocket of an Agents SDK session; ``None`` if it is not known."""
    return getattr(getattr(session, "model", None), "_websocket", None)


class _TracedSession:
    """Transparent proxy of a session; entering and leaving the proxy enters and leaves the session."""

    def __init__(
        self,
        session: Any,
        plan: Plan,
        sample_rate: int,
        on_message: Callable[[str, str], None] | None,
    ) -> None:
        self._session = session
        self._plan = plan
        self._block = Block(plan, sample_rate)
        self._lines = None if on_message is None else Lines(on_message)
        self._events: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_session"), name)

    async def __aenter__(self) -> _TracedSession:
        with _tapped(walled(self._plan.complete)() or self._plan.options):
            await self._session.__aenter__()
            self._block.begin(_socket_of(self._session), Options())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        self._tell(Lines.end)
        self._block.end(error)
        return await self._session.__aexit__(kind, error, traceback)

    def __aiter__(self) -> _TracedSession:
        self._events = self._session.__aiter__()
        return self

    async def __anext__(self) -> Any:
        if self._events is None:
            self._events = self._session.__aiter__()
        event = await self._events.__anext__()
        self._seen(event)
        return event

    def record_user_audio(self, pcm: bytes) -> None:
        """Record 16-bit samples from the microphone."""
        self._block.user(pcm)

    def record_agent_audio(self, pcm: bytes) -> None:
        """Record 16-bit samples that the speaker is playing now."""
        self._block.agent(pcm)

    def _seen(self, event: Any) -> None:
        raw = getattr(getattr(event, "data", None), "data", None)
        if self._block.reports and isinstance(raw, Mapping):
            self._block.received(raw)
        self._tell(lambda lines: lines.seen(event))

    def _tell(self, step: Callable[[Lines], None]) -> None:
        if self._lines is None:
            return
        try:
            step(self._lines)
        except Exception as error:  # noqa: BLE001 - the app's callback, as in LangSmith's wrapper
            warn_once(
                ("langsmith_compat", "on_message", type(error)),
                "on_message of wrap_realtime_session raised %r",
                error,
                log=logger,
            )
