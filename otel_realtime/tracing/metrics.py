"""OpenTelemetry metrics of conversations.

Names, units and bucket boundaries are those of the GenAI convention where it defines them:
https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-metrics.md

Attributes have low cardinality (model, provider, outcome, type of token) and never identify a
conversation: https://opentelemetry.io/docs/specs/otel/metrics/sdk/#cardinality-limits
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Final, ParamSpec, Protocol, cast
from weakref import WeakKeyDictionary

from opentelemetry import metrics as metrics_api
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context
from opentelemetry.util.types import AttributeValue

from otel_realtime import attributes as names
from otel_realtime import diagnostics
from otel_realtime.core.protocol.responses import Response
from otel_realtime.core.protocol.usage import MODALITIES, Usage, partition
from otel_realtime.interrupts import let_through
from otel_realtime.tracing.facts import Attributes
from otel_realtime.tracing.inference import Inference
from otel_realtime.version import VERSION

if TYPE_CHECKING:
    from otel_realtime.recording.track import AudioSummary

#: Bucket boundaries that the GenAI convention specifies, in seconds and in tokens.
_SECONDS: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
_TOKENS: Final = (
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
)  # fmt: skip
#: Voice-to-voice latency matters between 0.5 and 2 s, where the convention's buckets are coarse.
_LATENCY_SECONDS: Final = (
    0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 20,
)  # fmt: skip
#: A call can last an hour, but the convention's buckets end at 82 s.
_CALL_SECONDS: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)

#: Attributes of a measurement.
_Labels = dict[str, AttributeValue]

_P = ParamSpec("_P")


class Metrics(Protocol):
    """Measurements of one conversation."""

    def opened(self) -> None:
        """Count a conversation that opened."""

    def closed(self, seconds: float, outcome: str) -> None:
        """Record the duration of a conversation that ended, ``ok`` or ``error``."""

    def inference(self, response: Response, inference: Inference) -> None:
        """Record duration, latencies and tokens of a settled response."""

    def transcription(self, attributes: Attributes) -> None:
        """Record the tokens of a transcription.

        Args:
            attributes: attributes of its span.
        """

    def tool(self, seconds: float, name: str, failure: str | None = None) -> None:
        """Record the duration of a tool's span, and the type of its failure."""

    def error(self, kind: str) -> None:
        """Count an error that the server reported."""

    def talk(self, summary: AudioSummary) -> None:
        """Record times of talk and silence in a conversation whose audio is measured."""

    def upload(self, outcome: str) -> None:
        """Count a recording by its ``ls_audio_attach_status``: ``attached``, ``too_large``, ..."""


class NoMetrics:
    """Implementation of ``Metrics`` that measures nothing."""

    def opened(self) -> None:
        """Do nothing."""

    def closed(self, seconds: float, outcome: str) -> None:
        """Do nothing."""

    def inference(self, response: Response, inference: Inference) -> None:
        """Do nothing."""

    def transcription(self, attributes: Attributes) -> None:
        """Do nothing."""

    def tool(self, seconds: float, name: str, failure: str | None = None) -> None:
        """Do nothing."""

    def error(self, kind: str) -> None:
        """Do nothing."""

    def talk(self, summary: AudioSummary) -> None:
        """Do nothing."""

    def upload(self, outcome: str) -> None:
        """Do nothing."""


class Instruments:
    """The instruments of one meter provider.

    Args:
        provider: the meter provider.
        pending: returns the bytes of this process's conversations on disk.
    """

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
            description="Input tokens read from the cache; included in the input tokens.",
        )
        self.operation = _seconds(
            meter, names.METRIC_OPERATION, "From response.created to response.done."
        )
        self.first_chunk = _seconds(
            meter,
            names.METRIC_FIRST_CHUNK,
            "From response.created to the first audio.",
        )
        self.tool = _seconds(meter, names.METRIC_TOOL, "The span of a tool: as exact as that.")
        self.voice = _seconds(
            meter,
            names.METRIC_VOICE_TO_VOICE,
            "From the end of the user's speech to the first sound of the answer.",
            _LATENCY_SECONDS,
        )
        self.latency = _seconds(
            meter,
            names.METRIC_LATENCY,
            "Part of voice-to-voice; the parts of an answer add up to it.",
        )
        self.conversation = _seconds(
            meter, names.METRIC_CONVERSATION, "A whole conversation.", _CALL_SECONDS
        )
        self.dead_air = _seconds(
            meter, names.METRIC_DEAD_AIR, "Time in which nobody talked.", _CALL_SECONDS
        )
        self.longest_silence = _seconds(
            meter, names.METRIC_LONGEST_SILENCE, "Longest time at a stretch in which nobody talked."
        )
        self.agent_over_user = _seconds(
            meter, names.METRIC_AGENT_OVER_USER, "Time the agent talked over a user who had begun."
        )
        self.active = meter.create_up_down_counter(
            names.METRIC_ACTIVE,
            unit="{conversation}",
            description="Open conversations.",
        )
        self.interruptions = meter.create_counter(
            names.METRIC_INTERRUPTIONS,
            unit="{response}",
            description="Responses that were cut short; those that queued behind one do not count.",
        )
        self.errors = meter.create_counter(
            names.METRIC_ERRORS, unit="{error}", description="Errors reported by the server."
        )
        self.uploads = meter.create_counter(
            names.METRIC_UPLOADS,
            unit="{recording}",
            description="Recordings to be delivered to LangSmith, by outcome.",
        )
        # Observable: values are read when metrics are collected, so the app's task pays nothing.
        meter.create_observable_up_down_counter(
            names.METRIC_PENDING,
            callbacks=[lambda _options: [Observation(pending())]],
            unit="By",
            description="Size of this process's live and undelivered conversations on disk.",
        )
        meter.create_observable_counter(
            names.METRIC_LOST,
            callbacks=[_observe_lost],
            unit="{item}",
            description="Telemetry of conversations that this process lost, by kind.",
        )


def _observe_lost(_options: CallbackOptions) -> Iterable[Observation]:
    for what, count in diagnostics.lost().items():
        yield Observation(count, {"what": what})


def _seconds(
    meter: Meter, name: str, description: str, buckets: Sequence[float] = _SECONDS
) -> Histogram:
    return meter.create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=buckets
    )


def _measuring(measure: Callable[_P, None]) -> Callable[_P, None]:
    """Wrap a measurement so that an exception of the app's instruments loses only that one."""

    @wraps(measure)
    def measured(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            measure(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - a meter provider may raise anything
            let_through(error)
            diagnostics.warn_once(
                ("meter", type(error)),
                "a measurement is lost: the app's meter provider raised %s",
                type(error).__name__,
            )

    return measured


class ConversationMetrics:
    """Records the measurements of one conversation.

    Args:
        instruments: instruments of the app's meter provider.
        provider_name: ``gen_ai.provider.name`` of the conversation.
        context: has the conversation's root as its span. Measurements are recorded in it, whatever the
            app's current span is, so that exemplars lead to the conversation's trace:
            https://opentelemetry.io/docs/specs/otel/metrics/sdk/#exemplar
    """

    def __init__(self, instruments: Instruments, provider_name: str, context: Context) -> None:
        self._instruments = instruments
        self._context = context
        self._base: _Labels = {names.PROVIDER: provider_name}

    @_measuring
    def opened(self) -> None:
        """Count a conversation that opened."""
        self._instruments.active.add(1, self._base, self._context)

    @_measuring
    def closed(self, seconds: float, outcome: str) -> None:
        """Record the duration of a conversation that ended, ``ok`` or ``error``."""
        self._instruments.active.add(-1, self._base, self._context)
        self._instruments.conversation.record(
            seconds, {**self._base, "outcome": outcome}, self._context
        )

    @_measuring
    def inference(self, response: Response, inference: Inference) -> None:
        """Record duration, latencies and tokens of a settled response."""
        model = inference.attributes[names.REQUEST_MODEL]
        base: _Labels = {**self._base, names.OPERATION: "chat", names.REQUEST_MODEL: model}
        sound, to = inference.sound, self._instruments
        if response.done is not None:
            seconds = (response.done.at_ns - response.created.at_ns) / 1e9
            failed = {names.ERROR_TYPE: inference.failure.type} if inference.failure else {}
            to.operation.record(max(seconds, 0.0), {**base, **failed}, self._context)
        if sound.first_audio_ms is not None:
            to.first_chunk.record(sound.first_audio_ms / 1000, base, self._context)
        if sound.voice_to_voice_ms is not None:
            to.voice.record(sound.voice_to_voice_ms / 1000, base, self._context)
        for part in sound.parts:
            labels = {names.LATENCY_PART: part.name, names.LATENCY_OWNER: part.owner}
            to.latency.record(part.ms / 1000, {**base, **labels}, self._context)
        if sound.interruption is not None:
            why: _Labels = {
                names.INTERRUPTION_CAUSE: sound.interruption.cause,
                names.INTERRUPTION_FALSE: sound.interruption.false,
            }
            to.interruptions.add(1, {**base, **why}, self._context)
        for seconds, name, failure in inference.server_tools:
            self.tool(seconds, name, failure)
        if inference.tokens is not None:
            self._usage(inference.tokens, base)

    def _usage(self, usage: Usage, base: _Labels) -> None:
        self._tokens("input", usage.input, usage.input_by_modality, base)
        self._tokens("output", usage.output, usage.output_by_modality, base)
        if usage.cached:
            self._instruments.cached.add(usage.cached, base, self._context)

    def _tokens(self, kind: str, total: int, split: Mapping[str, int], base: _Labels) -> None:
        # The modalities partition the total, so a sum over the attribute gives the total.
        for modality, count in partition(total, split).items():
            labels = {**base, names.TOKEN_TYPE: kind, names.TOKEN_MODALITY: modality}
            self._instruments.tokens.record(count, labels, self._context)

    @_measuring
    def transcription(self, attributes: Attributes) -> None:
        """Record the tokens of a transcription; see ``Metrics``."""
        model = attributes[names.REQUEST_MODEL]
        base: _Labels = {**self._base, names.OPERATION: "chat", names.REQUEST_MODEL: model}

        def tokens(name: str) -> int | None:
            return cast("int | None", attributes.get(f"{names.USAGE}{name}_tokens"))

        for kind in ("input", "output"):
            total = tokens(kind)
            if total is not None:
                split = {name: tokens(f"{name}.{kind}") or 0 for name in MODALITIES}
                self._tokens(kind, total, split, base)
        cached = tokens("cache_read.input")
        if cached:
            self._instruments.cached.add(cached, base, self._context)

    @_measuring
    def tool(self, seconds: float, name: str, failure: str | None = None) -> None:
        """Record the duration of a tool's span, and the type of its failure."""
        labels: _Labels = {names.OPERATION: "execute_tool", names.TOOL_NAME: name}
        if failure is not None:
            labels[names.ERROR_TYPE] = failure
        self._instruments.tool.record(seconds, labels, self._context)

    @_measuring
    def error(self, kind: str) -> None:
        """Count an error that the server reported."""
        self._instruments.errors.add(1, {**self._base, names.ERROR_TYPE: kind}, self._context)

    @_measuring
    def talk(self, summary: AudioSummary) -> None:
        """Record times of talk and silence; do nothing without audio."""
        if summary.measured and summary.has_audio:
            self._instruments.dead_air.record(summary.dead_air_s, self._base, self._context)
            self._instruments.longest_silence.record(
                summary.longest_silence_s, self._base, self._context
            )
            self._instruments.agent_over_user.record(
                summary.agent_over_user_s, self._base, self._context
            )

    @_measuring
    def upload(self, outcome: str) -> None:
        """Count a recording by its ``ls_audio_attach_status``."""
        self._instruments.uploads.add(1, {"outcome": outcome}, self._context)


# Weak keys: a provider that the app replaces can be collected.
_instruments: Final[WeakKeyDictionary[MeterProvider, Instruments]] = WeakKeyDictionary()


def metrics_for(
    given: MeterProvider | None,
    provider_name: str,
    pending: Callable[[], int],
    *,
    root: SpanContext,
    on: bool,
) -> Metrics:
    """Return the metrics of a conversation.

    Instruments are created once per provider: creating one again makes the SDK warn.

    Args:
        given: the app's meter provider; ``None``: the global one.
        provider_name: ``gen_ai.provider.name`` of the conversation.
        pending: returns the bytes of this process's conversations on disk.
        root: the conversation's root span.
        on: ``False``: measure nothing.
    """
    if not on:
        return NoMetrics()
    provider = given or metrics_api.get_meter_provider()
    instruments = _instruments.get(provider)
    if instruments is None:
        instruments = _instruments[provider] = Instruments(provider, pending)
    context = set_span_in_context(NonRecordingSpan(root), Context())
    return ConversationMetrics(instruments, provider_name, context)
