"""What the journal says of the trace, so that it can be finished if this process dies.

Besides the sound the journal holds every event that moved the conversation's state, as it may
be stored, and which spans were open. The notes are taken on the app's task: each one is a queue
append; the writer thread turns them into text. ``recovery`` reads them::

    ["event", t, {"at", "t", "dir": "r" | "s", "event", "span", "n"}]   span null: none was made
    ["asked", t, {"at"}]                       the app asked on: the event's span has ended
    ["span", t, {"span", "parent", ...}]       another span below the root was started
    ["end", t, {"span", "at"}]                 and has ended
    ["settled", t, {"ids"}]                    the inference spans of these responses were written
    ["meta", t, {"metadata", "tags"}]          what the app says of the conversation
    ["start", t, {"start_ns", "dotted_order"}] the app's first time moved the start
    ["policy", t, {"inputs", "outputs", "audio"}]
    ["ended", t, {"at", "t", ...}]             all spans have ended; what is left is delivery
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from otel_realtime.core.events import Event
from otel_realtime.core.payload import ContentPolicy
from otel_realtime.core.responses import Moment, Response
from otel_realtime.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from otel_realtime.tracing.root import Ending, Identity
    from otel_realtime.tracing.trace import Trace

Note = Callable[[str, Mapping[str, Any]], None]


def header(trace: Trace) -> dict[str, Any]:
    """The journal's first record: what somebody else needs to know of the conversation.

    It holds no key: whoever finishes the trace brings one for the same LangSmith.
    """
    who, stamp, settings = trace.identity, trace.stamp, trace.settings
    resource = getattr(trace.root, "resource", None)
    return {
        "version": VERSION,
        "trace_id": trace.trace_id,
        "root_span_id": f"{stamp.root_span_id:016x}",
        "root_run_id": trace.run_id,
        "dotted_order": stamp.dotted_order,
        "start_ns": trace.clock.start_ns,
        "mono_ns": trace.clock.mono_ns,
        "thread_id": who.thread_id,
        "given_thread_id": who.given_thread_id,
        "provider": [who.provider.name, who.provider.host, who.provider.port],
        "call_id": who.call_id,
        "model": who.model,
        "metadata": dict(who.metadata),
        "tags": list(who.tags),
        "parent": [who.parent_trace_id, who.parent_span_id],
        "ambient": trace.ambient,
        "leg": stamp.leg,
        "by_runs_api": trace.by_runs_api,
        "project": stamp.project,
        "api_url": trace.api_url,
        "policy": policy_note(trace.policy),
        "records": trace.records,
        "recorded": trace.recorded,
        "name": trace.name,
        "recordings_dir": settings.recordings_dir,
        "audio_format": settings.audio_format,
        "max_attachment_mb": settings.max_attachment_mb,
        "payload_limit": settings.payload_limit,
        "skip_events": list(settings.skip_events),
        "resource": dict(resource.attributes) if resource is not None else {},
    }


class Chronicle:
    """Takes the notes of one conversation; see the module for what they are."""

    __slots__ = ("_note",)

    def __init__(self, note: Note) -> None:
        self._note = note

    def received(
        self, event: Event, moment: Moment, span: Span | None, policy: ContentPolicy, count: int
    ) -> None:
        """A server event was taken in; ``count``: events so far, those without a note included."""
        self._note(
            "event",
            {
                "at": moment.at_ns,
                "t": moment.t,
                "dir": "r",
                "event": event if policy.payloads else policy.hidden(event),
                "span": None if span is None else f"{span.get_span_context().span_id:016x}",
                "n": count,
            },
        )

    def sent(self, event: Event, moment: Moment, policy: ContentPolicy) -> None:
        """A client event was taken in."""
        event = event if policy.payloads else policy.hidden(event)
        self._note("event", {"at": moment.at_ns, "t": moment.t, "dir": "s", "event": event})

    def asked(self, at_ns: int) -> None:
        """The current event's span has ended."""
        self._note("asked", {"at": at_ns})

    def settled(self, responses: Iterable[Response]) -> None:
        """These responses were written as spans."""
        ids = [response.id for response in responses]
        if ids:
            self._note("settled", {"ids": ids})

    def about(self, who: Identity) -> None:
        """The app said something of the conversation."""
        self._note("meta", {"metadata": dict(who.metadata), "tags": list(who.tags)})

    def started(self, start_ns: int, dotted_order: str) -> None:
        """The conversation starts at another time than its journal."""
        self._note("start", {"start_ns": start_ns, "dotted_order": dotted_order})

    def tightened(self, policy: ContentPolicy) -> None:
        """Stricter privacy holds from now on."""
        self._note("policy", policy_note(policy))

    def ended(
        self, ending: Ending, moment: Moment, events: int, dropped: int, *, otlp: bool
    ) -> None:
        """The conversation is over; ``otlp``: its root goes by OTLP, the runs API refused it."""
        failure = ending.failure
        self._note(
            "ended",
            {
                "at": moment.at_ns,
                "t": moment.t,
                "n": events,
                "dropped": dropped,
                "code": ending.code,
                "reason": ending.reason,
                "by_client": ending.by_client,
                "failure": None if failure is None else [failure.type, failure.message],
                "otlp": otlp,
            },
        )


class NoChronicle(Chronicle):
    """Nothing of the conversation is on disk."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_nowhere)

    def received(
        self, event: Event, moment: Moment, span: Span | None, policy: ContentPolicy, count: int
    ) -> None:
        """Nothing."""

    def sent(self, event: Event, moment: Moment, policy: ContentPolicy) -> None:
        """Nothing."""


def _nowhere(kind: str, data: Mapping[str, Any]) -> None:
    """A note that nobody keeps."""


def policy_note(policy: ContentPolicy) -> dict[str, bool]:
    """What of the content may be stored, as the journal says it."""
    return {"inputs": policy.inputs, "outputs": policy.outputs, "audio": policy.audio}
