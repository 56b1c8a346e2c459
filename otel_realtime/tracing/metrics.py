"""OpenTelemetry metrics of conversations; names and buckets of the GenAI convention where it has any.

Attributes stay low in cardinality: model, provider, outcome, kind of token. Nothing here names a
conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from opentelemetry import metrics as metrics_api
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from otel_realtime import attributes as names
from otel_realtime import diagnostics
from otel_realtime.core.protocol.responses import Response
from otel_realtime.core.protocol.usage import Usage
from otel_realtime.tracing.facts import Attributes
from otel_realtime.tracing.inference import Inference
from otel_realtime.version import VERSION

#: Bucket boundaries that the GenAI convention advises (seconds; tokens).
_SECONDS: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
_TOKENS: Final = (
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
)  # fmt: skip
#: What callers notice lies between half a second and two; the convention's buckets are coarse there.
_LATENCY_SECONDS: Final = (
    0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 20,
)  # fmt: skip
#: A call can last an hour: the convention's buckets end far below.
_CALL_SECONDS: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


class Metrics(Protocol):
    """What a conversation reports."""

    def opened(self) -> None:
        """A conversation opened."""

    def closed(self, seconds: float, outcome: str) -> None:
        """It ended, ``ok`` or ``error``."""

    def inference(self, response: Response, found: Inference) -> None:
        """A response settled."""

    def transcription(self, attributes: Attributes) -> None:
        """A transcription ended."""

    def tool(self, seconds: float, name: str) -> None:
        """A tool call was answered."""

    def error(self, kind: str) -> None:
        """The server reported an error."""

    def upload(self, outcome: str) -> None:
        """What became of a recording on its way to LangSmith: ``attached``, ``too_large``, ..."""


class NoMetrics:
    """Metrics are off."""

    def opened(self) -> None:
        """Nothing."""

    def closed(self, seconds: float, outcome: str) -> None:
        """Nothing."""

    def inference(self, response: Response, found: Inference) -> None:
        """Nothing."""

    def transcription(self, attributes: Attributes) -> None:
        """Nothing."""

    def tool(self, seconds: float, name: str) -> None:
        """Nothing."""

    def error(self, kind: str) -> None:
        """Nothing."""

    def upload(self, outcome: str) -> None:
        """Nothing."""


class Instruments:
    """The instruments of one meter provider."""

    def __init__(self, provider: MeterProvider, pending: Callable[[], int]) -> None:
        meter = provider.get_meter("otel_realtime", VERSION)
        self.tokens = meter.create_histogram(
            names.METRIC_TOKENS,
            unit="{token}",
            description="Tokens of one model call, by type and modality.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self.cached = meter.create_counter(
            names.METRIC_CACHED,
            unit="{token}",
            description="Input tokens that came from the cache; a part of the input.",
        )
        self.operation = _seconds(
            meter, names.METRIC_OPERATION, "From response.created to response.done."
        )
        self.first_chunk = _seconds(
            meter,
            names.METRIC_FIRST_CHUNK,
            "From response.created to the first audio.",
        )
        self.tool = _seconds(meter, names.METRIC_TOOL, "From a call's arguments to its result.")
        self.voice = _seconds(
            meter,
            names.METRIC_VOICE_TO_VOICE,
            "From the end of the user's speech to the first sound of the answer.",
            _LATENCY_SECONDS,
        )
        self.conversation = _seconds(
            meter, names.METRIC_CONVERSATION, "A whole conversation.", _CALL_SECONDS
        )
        self.active = meter.create_up_down_counter(
            names.METRIC_ACTIVE,
            unit="{conversation}",
            description="Open conversations.",
        )
        self.interruptions = meter.create_counter(
            names.METRIC_INTERRUPTIONS,
            unit="{response}",
            description="Responses that were not heard to their end.",
        )
        self.errors = meter.create_counter(
            names.METRIC_ERRORS, unit="{error}", description="Errors the server reported."
        )
        self.uploads = meter.create_counter(
            names.METRIC_UPLOADS,
            unit="{recording}",
            description="Recordings on their way to LangSmith, by what became of them.",
        )
        meter.create_observable_up_down_counter(
            names.METRIC_PENDING,
            callbacks=[lambda _options: [Observation(pending())]],
            unit="By",
            description="Conversations of this process on disk: going on, or undelivered.",
        )
        meter.create_observable_counter(
            names.METRIC_LOST,
            callbacks=[_lost],
            unit="{item}",
            description="Telemetry of conversations that this process gave up, by what it was.",
        )


def _lost(_options: CallbackOptions) -> Iterable[Observation]:
    for what, count in diagnostics.lost().items():
        yield Observation(count, {"what": what})


def _seconds(meter: Any, name: str, description: str, buckets: Any = _SECONDS) -> Any:
    return meter.create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=buckets
    )


class ConversationMetrics:
    """Reports one conversation to the instruments."""

    def __init__(self, instruments: Instruments, provider_name: str) -> None:
        self._to = instruments
        self._base = {names.PROVIDER: provider_name}

    def opened(self) -> None:
        """A conversation opened."""
        self._to.active.add(1, self._base)

    def closed(self, seconds: float, outcome: str) -> None:
        """It ended, ``ok`` or ``error``."""
        self._to.active.add(-1, self._base)
        self._to.conversation.record(seconds, {**self._base, "outcome": outcome})

    def inference(self, response: Response, found: Inference) -> None:
        """A response settled."""
        model = found.attributes[names.REQUEST_MODEL]
        base = {**self._base, names.OPERATION: "chat", names.REQUEST_MODEL: model}
        if response.done is not None:
            seconds = (response.done.at_ns - response.created.at_ns) / 1e9
            failed = {names.ERROR_TYPE: found.failure.type} if found.failure else {}
            self._to.operation.record(max(seconds, 0.0), {**base, **failed})
        if found.sound.first_audio_ms is not None:
            self._to.first_chunk.record(found.sound.first_audio_ms / 1000, base)
        if found.sound.voice_to_voice_ms is not None:
            self._to.voice.record(found.sound.voice_to_voice_ms / 1000, base)
        if found.sound.interrupted:
            self._to.interruptions.add(1, base)
        if found.tokens is not None:
            self._usage(found.tokens, base)

    def _usage(self, usage: Usage, base: Mapping[str, Any]) -> None:
        for kind, total, split in (
            ("input", usage.input, usage.input_by_modality),
            ("output", usage.output, usage.output_by_modality),
        ):
            for modality, count in partition(total, split).items():
                labels = {**base, names.TOKEN_TYPE: kind, names.TOKEN_MODALITY: modality}
                self._to.tokens.record(count, labels)
        if usage.cached:
            self._to.cached.add(usage.cached, base)

    def transcription(self, attributes: Attributes) -> None:
        """A transcription ended."""
        model = attributes[names.REQUEST_MODEL]
        base = {**self._base, names.OPERATION: "chat", names.REQUEST_MODEL: model}
        for kind in ("input", "output"):
            total = attributes.get(f"{names.USAGE}{kind}_tokens")
            if total is None:
                continue
            split = {
                modality: attributes[key]
                for modality in ("text", "audio", "image")
                if (key := f"{names.USAGE}{modality}.{kind}_tokens") in attributes
            }
            for modality, count in partition(total, split).items():
                labels = {**base, names.TOKEN_TYPE: kind, names.TOKEN_MODALITY: modality}
                self._to.tokens.record(count, labels)

    def tool(self, seconds: float, name: str) -> None:
        """A tool call was answered."""
        self._to.tool.record(seconds, {names.OPERATION: "execute_tool", names.TOOL_NAME: name})

    def error(self, kind: str) -> None:
        """The server reported an error."""
        self._to.errors.add(1, {**self._base, names.ERROR_TYPE: kind})

    def upload(self, outcome: str) -> None:
        """What became of a recording on its way to LangSmith."""
        self._to.uploads.add(1, {"outcome": outcome})


def partition(total: int, split: Mapping[str, int]) -> dict[str, int]:
    """The split by modality, made to add up to the total; what no modality claims is text.

    A split that claims more than the total is cut, text first: its share is what is left over.
    """
    found, rest = {}, total
    for name in ("audio", "image", "text"):
        found[name] = min(split.get(name, 0), rest)
        rest -= found[name]
    found["text"] += rest
    return {name: count for name, count in found.items() if count}


_instruments: Final[WeakKeyDictionary[MeterProvider, Instruments]] = WeakKeyDictionary()


def metrics_for(
    given: MeterProvider | None, provider_name: str, pending: Callable[[], int], *, on: bool
) -> Metrics:
    """Return metrics through the app's MeterProvider; its instruments are made once.

    Args:
        given: None: the global one.
        provider_name: ``gen_ai.provider.name`` of the conversation.
        pending: returns the bytes on disk for ``otel_realtime.recording.pending``.
        on: False: nothing is measured.
    """
    if not on:
        return NoMetrics()
    provider = given or metrics_api.get_meter_provider()
    instruments = _instruments.get(provider)
    if instruments is None:
        instruments = _instruments[provider] = Instruments(provider, pending)
    return ConversationMetrics(instruments, provider_name)
