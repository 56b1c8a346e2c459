"""Determines who delivers what, by calling the code that decides it, and what that means for a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_realtime.attributes import LEG_COLLECTOR, LEG_DIRECT, LEG_NONE, ROOT_NAME
from otel_realtime.credentials import without_secrets
from otel_realtime.delivery.otlp import chosen, endpoint, is_otlp, make_exporter
from otel_realtime.diagnostics import Said, overheard
from otel_realtime.doctor.model import Delivery, Result, Surroundings
from otel_realtime.doctor.providers import current_provider
from otel_realtime.doctor.sdk_log import listening
from otel_realtime.errors import ConfigError
from otel_realtime.langsmith.app_exports import has_exporter, processors_of
from otel_realtime.langsmith.config import LegChoice
from otel_realtime.langsmith.route import choose, content_policy
from otel_realtime.setup.destinations import span_exporters
from otel_realtime.setup.providers import config_file, is_disabled, tracer_provider
from otel_realtime.tracing.route import is_wanted, may_record

#: ``Settings.deliver`` -> who delivers what this package delivers itself.
_OURSELVES: Final = {"process": "this process", "worker": "a worker (recover --watch)"}
_OTHERS: Final = "the app's exporters"
_NOBODY: Final = "nobody"
_NOWHERE: Final = "-"
#: Number of trace ids with which a sampler is tested.
_TRIES: Final = 1000


class Topology:
    """The decisions for a call that opens here.

    Args:
        here: the environment.

    Attributes:
        choice: who delivers to LangSmith.
        others: the destinations of the app's own exporters.
        heard: the warnings about delivery that the app would get.
        sdk_warns: the SDK's warnings when it sets up a provider.
        traced: share of the calls that the provider's sampler accepts; ``None`` if it is not known.
        problem: why no provider can be set up; empty if one can.
        policy: which content may be stored.
    """

    def __init__(self, here: Surroundings) -> None:
        self._here = here
        self.others: list[str] = []
        self.problem = ""
        self._broken = False
        self.sdk_warns: list[str] = []
        provider = current_provider()
        if provider is None or not has_exporter(provider):
            provider = planned = self._planned()
        else:
            self.others = list(_addresses(provider))
            planned = None
        with overheard() as heard:
            # With draw=0.0, LangSmith's sampling rate drops no call, so this is the choice for all others.
            self.choice: LegChoice = choose(here.settings, here.config, provider, draw=0.0)
        if planned is not None:
            planned.shutdown()
        # The other warnings are about single variables, and `variables` reports them.
        self.heard: Sequence[Said] = [one for one in heard if _kind(one) in ("leg", "two roots")]
        self.traced = _share(provider)
        self.policy = content_policy(here.settings, here.config)

    def _planned(self) -> TracerProvider | None:
        """Return a provider with the exporters that ``configure()`` would set up; it gets no spans."""
        if is_disabled():
            self.problem = "OTEL_SDK_DISABLED is true"
            return None
        file = config_file()
        if file is not None:
            self.others = [f"where {file[1]} says"]
            return None
        try:
            names = span_exporters(self._here.settings)
            exporters = [make_exporter("TRACES", name) for name in names]
            with listening() as self.sdk_warns:
                provider = tracer_provider([])
        except ConfigError as error:
            self.problem = str(error)
            return None
        except Exception as error:  # noqa: BLE001 - a detector or sampler of another package may raise
            self.problem = f"no TracerProvider can be made: {type(error).__name__}: {error}"
            self._broken = True
            return None
        for name, exporter in zip(names, exporters, strict=True):
            address = getattr(exporter, "_endpoint", None) or endpoint("TRACES")
            self.others.append(without_secrets(str(address)) if is_otlp(name) and address else name)
            provider.add_span_processor(SimpleSpanProcessor(exporter))
        return provider

    # -- what follows from it ----------------------------------------------------------------------

    @property
    def langsmith(self) -> str:
        """LangSmith, with address and project."""
        config = self._here.config
        return f"LangSmith ({config.address}, project {config.project})"

    @property
    def records(self) -> bool:
        """Whether audio may be recorded, and has a destination."""
        return may_record(self._here.settings, self.policy) and is_wanted(
            self._here.settings, delivers_root=self.choice.root_by_runs_api
        )

    @property
    def recorded_to(self) -> list[str]:
        """The destinations of a recording."""
        if not self.records:
            return []
        places = [self.langsmith] if self.choice.root_by_runs_api else []
        kept = self._here.settings.recordings_dir
        return [*places, without_secrets(kept)] if kept is not None else places

    def deliveries(self) -> list[Delivery]:
        """Return the table of who delivers what."""
        if self.problem:
            return [Delivery(what="everything", by=_NOBODY, to=self.problem)]
        choice, ourselves = self.choice, _OURSELVES[self._here.settings.deliver]
        others = " and ".join(self.others)
        rows = []
        if choice.root_by_runs_api:
            rows.append(Delivery(what="root run", by=f"{ourselves}, runs API", to=self.langsmith))
        if choice.leg == LEG_DIRECT:
            rows.append(
                Delivery(what="spans to LangSmith", by=f"{ourselves}, OTLP", to=self.langsmith)
            )
        elif choice.leg == LEG_COLLECTOR:
            what = (
                "spans to LangSmith" if choice.root_by_runs_api else "root and spans to LangSmith"
            )
            by = f"whoever forwards them (leg {choice.leg})" if others else _NOBODY
            rows.append(Delivery(what=what, by=by, to="if it has a key" if others else _NOWHERE))
        rows.append(
            Delivery(what="root and all spans", by=_OTHERS, to=others)
            if others
            else Delivery(what="root and all spans", by=_NOBODY, to=_NOWHERE)
        )
        for place in self.recorded_to or [_NOWHERE]:
            by = ourselves if self.recorded_to else _NOBODY
            rows.append(Delivery(what="recording", by=by, to=place))
        rows.append(self._metrics())
        return rows

    def _metrics(self) -> Delivery:
        try:
            names = chosen("METRICS") if self._here.settings.metrics else []
        except ConfigError:
            names = []
        to = ", ".join(endpoint("METRICS") or name if is_otlp(name) else name for name in names)
        if config_file() is not None and self._here.settings.metrics:
            to = self.others[0]
        by = "the app's MeterProvider" if to else _NOBODY
        return Delivery(what="metrics", by=by, to=without_secrets(to) or _NOWHERE)

    @property
    def goes_nowhere(self) -> bool:
        """Whether no part of a call is delivered, as far as the environment says."""
        return not (self.choice.root_by_runs_api or self.others or self.recorded_to)

    def results(self) -> Iterator[Result]:
        """Yield results about the delivery."""
        config, choice = self._here.config, self.choice
        if config.api_key and choice == LegChoice(LEG_COLLECTOR, False) and not self.heard:
            yield Result(
                id="delivery.langsmith",
                title="LangSmith",
                status="warn",
                seen="a key is set, and nothing asks this process to deliver",
                effect="it sends LangSmith nothing itself, and attaches no recording",
                fix="LANGSMITH_TRACING=true (false, if that is meant)",
            )
        for said in self.heard:
            yield Result(
                id="delivery.langsmith",
                title="LangSmith",
                # A warning of kind "leg": LangSmith was requested without a key, so nothing reaches it.
                status="fail" if _kind(said) == "leg" else "warn",
                seen=said.text,
                effect="conversations are not in LangSmith, or without their recordings",
                fix="do what it says",
            )
        if self._broken:  # other problems are reported with the variable that causes them
            yield Result(
                id="delivery.provider",
                title="TracerProvider",
                status="fail",
                seen=self.problem,
                effect="nothing is traced or recorded",
                fix="correct or remove the package that it comes from",
            )
        for text in self.sdk_warns:
            yield Result(
                id="delivery.provider",
                title="TracerProvider",
                status="warn",
                seen=text,
                fix="correct the variable OTEL_* that it speaks of",
            )
        if self.traced is not None and self.traced < 1:
            yield Result(
                id="delivery.sampler",
                title="sampler",
                status="info" if self.traced else "fail",
                seen=f"it takes {self.traced:.0%} of the calls"
                if self.traced
                else "it takes no call",
                effect="a call that it drops is neither traced nor recorded",
                fix="" if self.traced else "OTEL_TRACES_SAMPLER=parentbased_always_on, or unset it",
            )
        rate = config.sampling_rate
        if rate is not None and rate < 1 and choice.leg != LEG_NONE:
            yield Result(
                id="delivery.sampling",
                title="LangSmith's sampling",
                status="info",
                seen=f"LANGSMITH_TRACING_SAMPLING_RATE={rate:g}",
                effect=f"{rate:.0%} of the conversations go to LangSmith",
            )
        if self.goes_nowhere and not self.problem:
            yield Result(
                id="delivery.nowhere",
                title="destinations",
                status="warn",
                seen="none is named in the environment",
                effect="a call is lost, unless the app sets exporters up in code",
                fix="LANGSMITH_TRACING=true and LANGSMITH_API_KEY, or OTEL_EXPORTER_OTLP_ENDPOINT",
            )
        if not self.recorded_to and not self.goes_nowhere:
            yield Result(
                id="delivery.recording",
                title="recording",
                status="info",
                seen="none is made" + ("" if self.policy.audio else ": content is hidden"),
                effect="sound is recorded only if it is allowed, and has somewhere to go",
                fix="a key for LangSmith, or OTEL_REALTIME_RECORDINGS_DIR",
            )

    def verdict(self, failed: Sequence[Result]) -> str:
        """Return what would happen to a call started here, in one sentence.

        Args:
            failed: the results with status ``fail``.
        """
        if self.problem:
            return f"A call started here would not be traced: {self.problem}."
        if self.traced == 0:
            return "A call started here would not be traced: the sampler takes none."
        if self.goes_nowhere:
            return "A call started here would be traced, and sent nowhere."
        places = [self.langsmith] if self.choice.root_by_runs_api else []
        places += self.others
        parts = ["traced" + (" and recorded" if self.recorded_to else ", not recorded")]
        if places:
            parts.append("sent to " + " and to ".join(places))
        if self.recorded_to and self.recorded_to[-1] not in places:
            parts.append(f"kept in {self.recorded_to[-1]}")
        sentence = "A call started here would be " + ", ".join(parts)
        if failed:
            names = ", ".join(dict.fromkeys(result.title for result in failed))
            return f"{sentence}; but something would be lost: {names}."
        return sentence + "."


def _kind(said: Said) -> object:
    return said.key[0] if isinstance(said.key, tuple) else said.key


def _share(provider: object) -> float | None:
    """Return the share of new traces that an SDK sampler accepts; ``None`` for any other sampler."""
    sampler: Any = getattr(provider, "sampler", None)
    if not type(sampler).__module__.startswith("opentelemetry.sdk."):
        return None
    step = (1 << 64) // _TRIES  # ratio samplers decide by the lower 64 bits of a trace id
    decisions = [sampler.should_sample(Context(), step * at, ROOT_NAME) for at in range(_TRIES)]
    taken: int = sum(one.decision.is_sampled() for one in decisions)
    return taken / _TRIES


def _addresses(provider: object) -> Iterator[str]:
    for processor in processors_of(provider):
        exporter = getattr(processor, "span_exporter", None)
        if exporter is not None:
            address = getattr(exporter, "_endpoint", None)
            yield without_secrets(address) if isinstance(address, str) else type(exporter).__name__


def look(here: Surroundings) -> Iterator[Result]:
    """Report results about who delivers what."""
    yield from Topology(here).results()
