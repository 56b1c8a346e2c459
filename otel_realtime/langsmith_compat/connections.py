"""``wrap_realtime``: traces a connection of the ``openai`` SDK."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from otel_realtime.attributes import Meta
from otel_realtime.conversation.public import tell_of_event
from otel_realtime.diagnostics import logger_of, walled, warn_once
from otel_realtime.langsmith_compat.arguments import (
    DEFAULT_MAX_AUDIO_SECONDS,
    DEFAULT_SAMPLE_RATE,
    Plan,
)
from otel_realtime.langsmith_compat.block import Block

if TYPE_CHECKING:
    from langsmith import Client
    from langsmith.address import AgentAddress
    from langsmith.run_trees import WriteReplica

logger = logger_of(__name__)

_SPEECH_STARTED: Final = "input_audio_buffer.speech_started"


def wrap_realtime(
    connection: Any,
    *,
    thread_id: str | None = None,
    sample_rate: int = DEFAULT_SAMPLE_RATE,
    project_name: str | None = None,
    address: AgentAddress | None = None,
    tags: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
    is_agent_speaking: Callable[[], bool] | None = None,
    max_audio_seconds: float | None = DEFAULT_MAX_AUDIO_SECONDS,
    client: Client | None = None,
    replicas: Sequence[WriteReplica] | None = None,
) -> _Wrapped:
    """Trace one Realtime connection, like ``langsmith.integrations.openai_realtime.wrap_realtime``.

    Args:
        connection: connection of ``client.realtime.connect``.
        thread_id: LangSmith thread; ``None``: a new one.
        sample_rate: samples per second of the audio that is recorded.
        project_name: LangSmith project; ``None``: the environment's.
        address: an agent's address, instead of a project.
        tags: tags of the root run.
        metadata: metadata of the root run.
        is_agent_speaking: returns whether the agent is still audible.
        max_audio_seconds: 0: record nothing; otherwise everything is recorded.
        client: LangSmith client; see the package's documentation.
        replicas: not supported.

    Returns:
        An asynchronous context manager that yields a transparent proxy of the connection.

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
    return _Wrapped(connection, plan, sample_rate, is_agent_speaking)


class _Wrapped:
    """Context manager that ``wrap_realtime`` returns; entering it yields the proxy."""

    def __init__(
        self,
        connection: Any,
        plan: Plan,
        sample_rate: int,
        is_agent_speaking: Callable[[], bool] | None,
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._sample_rate = sample_rate
        self._is_agent_speaking = is_agent_speaking
        self._block: Block | None = None

    async def __aenter__(self) -> _TracedConnection:
        block = self._block = Block(self._plan, self._sample_rate)
        options = walled(self._plan.complete)() or self._plan.options
        block.begin(self._connection, options)
        return _TracedConnection(self._connection, block, self._is_agent_speaking)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._block is not None:
            self._block.end(error)
        return False


class _TracedConnection:
    """Transparent proxy of a connection; it forwards every attribute that it does not define."""

    def __init__(
        self, connection: Any, block: Block, is_agent_speaking: Callable[[], bool] | None
    ) -> None:
        self._connection = connection
        self._block = block
        self._is_agent_speaking = is_agent_speaking
        self._events: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_connection"), name)

    def __aiter__(self) -> _TracedConnection:
        self._events = self._connection.__aiter__()
        return self

    async def __anext__(self) -> Any:
        if self._events is None:
            self._events = self._connection.__aiter__()
        event = await self._events.__anext__()
        self._seen(event)
        return event

    async def recv(self) -> Any:
        """Return the next event."""
        event = await self._connection.recv()
        self._seen(event)
        return event

    def record_user_audio(self, pcm: bytes) -> None:
        """Record 16-bit samples from the microphone."""
        self._block.user(pcm)

    def record_agent_audio(self, pcm: bytes) -> None:
        """Record 16-bit samples that the speaker is playing now."""
        self._block.agent(pcm)

    def _seen(self, event: Any) -> None:
        self._block.received(event)
        speaking = self._is_agent_speaking
        if speaking is not None and getattr(event, "type", None) == _SPEECH_STARTED:
            try:
                interrupted = bool(speaking())
            except Exception as error:  # noqa: BLE001 - the app's callback, as in LangSmith's wrapper
                warn_once(
                    ("langsmith_compat", "speaking", type(error)),
                    "is_agent_speaking raised %r; was_interrupted is unknown",
                    error,
                    log=logger,
                )
                return
            if interrupted and self._block.call is not None:
                tell_of_event(self._block.call, Meta.WAS_INTERRUPTED, True)
