"""The call object of a conversation whose journal is on disk; nothing is delivered or changed.

The journal is read back as for a recovery, but as if nothing had been delivered. So every span is made
again, in memory.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from otel_realtime import attributes as names
from otel_realtime.calls.from_spans import call_of
from otel_realtime.calls.rows import Row
from otel_realtime.calls.schema import Call, Recording
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.errors import RecordingError
from otel_realtime.langsmith.ids import run_id
from otel_realtime.langsmith.route import project_of
from otel_realtime.recording.about import CHANNELS, About
from otel_realtime.recording.pacing import Pacer
from otel_realtime.recovery.rebuild import Rebuilt, rebuild
from otel_realtime.recovery.replay import DIED, OpenEvent, Replayed, replay
from otel_realtime.tracing.closing import RecordedAudio
from otel_realtime.tracing.event import event_attributes
from otel_realtime.tracing.facts import allowed
from otel_realtime.tracing.failure import event_failure
from otel_realtime.tracing.members import Member

#: Type of a rendered recording.
WAV_MIME: Final = "audio/wav"


def call_in(
    folder: Path,
    *,
    live: bool = False,
    recording: Recording | None = None,
    sound: RecordedAudio | None = None,
) -> Call:
    """Return the call object of a conversation.

    Args:
        folder: its folder in the state directory.
        live: its process is alive, so the call is in progress unless the journal says that it ended.
        recording: its recording; ``None`` without one.
        sound: facts about its audio, if they are known; see ``recovery.replay.replay``.

    Raises:
        RecordingError: there is no readable journal.
    """
    return call_and_about(folder, live=live, recording=recording, sound=sound)[0]


def call_and_about(
    folder: Path,
    *,
    live: bool = False,
    recording: Recording | None = None,
    sound: RecordedAudio | None = None,
) -> tuple[Call, About]:
    """Return the call object of a conversation, and the description for its recording.

    Arguments and errors as for ``call_in``.
    """
    found = replay(folder, whole=True, sound=sound)
    live = live and found.ending is None
    # An event's span needs only its attributes, and there are thousands of them.
    events = found.ended.copy()
    if found.event is not None:
        events.append((found.event, found.end.at_ns))
    found.ended.clear()
    found.event = None
    rebuilt = rebuild(found, marked=False)
    pacer = Pacer()
    rows = [_root(found, rebuilt, live=live)]
    spans = deque((*rebuilt.again, *rebuilt.below))
    rebuilt.again.clear()
    rebuilt.below.clear()
    for row in chain(_events(events, found), (_row(one, live=live) for one in _spans(spans))):
        rows.append(row)
        pacer.step()
    call = call_of(
        rows,
        trace_id=f"{found.header.trace_id:032x}",
        project=project_of(found.header.backend) if found.header.delivers_root else None,
        recording=recording,
        pause=pacer.step,
    )
    # Freeing them all at once allows no pause: an hour's call has a hundred thousand objects.
    while rows:
        rows.pop()
        pacer.step()
    if call is None:  # not expected, because the root was made here
        raise RecordingError(f"the journal of {folder.name} holds no call")
    return call, rebuilt.about


def text_of(sound: RecordedAudio, folder: Path, file: str, duration_s: float, rate_hz: int) -> str:
    """Return the call object of a conversation as JSON text, for the file beside its recording.

    Args:
        sound: facts about its audio.
        folder: its folder in the state directory.
        file: name of the recording.
        duration_s: its length.
        rate_hz: its sample rate.

    Raises:
        RecordingError: there is no readable journal.
    """
    call = call_in(folder, recording=wav_recording(file, duration_s, rate_hz), sound=sound)
    pacer, parts = Pacer(), []
    for part in json.JSONEncoder(ensure_ascii=False, indent=1).iterencode(call):
        parts.append(part)
        pacer.step()
    return "".join([*parts, "\n"])


def wav_recording(name: str, duration_s: float, rate_hz: int) -> Recording:
    """Return the entry of a call object for a rendered WAV.

    Args:
        name: the file's name.
        duration_s: its length.
        rate_hz: its sample rate.
    """
    return {
        "file": name,
        "mime": WAV_MIME,
        "duration_ms": round(duration_s * 1_000),
        "sample_rate": rate_hz,
        "channels": list(CHANNELS),
    }


def _root(found: Replayed, rebuilt: Rebuilt, *, live: bool) -> Row:
    """Return the root with the data of its run, which no span limit shortens."""
    closing, opening = rebuilt.closing, rebuilt.opening
    attributes: dict[str, Any] = {
        **{names.LS_METADATA + key: value for key, value in opening.metadata.items()},
        **{names.LS_METADATA + key: value for key, value in closing.metadata.items()},
        names.LS_SPAN_ID: run_id(found.header.root_span_id),
        names.LS_TAGS: ",".join(closing.tags or ()),
        names.PROMPT: closing.inputs,
        names.COMPLETION: closing.outputs,
    }
    return Row(
        span_id=f"{found.header.root_span_id:016x}",
        parent_id=None,
        name=closing.name or opening.name,
        start_ns=found.header.start_ns,
        end_ns=None if live else closing.end_ns,
        failed=closing.error is not None and not live,
        message=closing.error,
        attributes=attributes,
    )


def _spans(spans: deque[tuple[ReadableSpan, Member]]) -> Iterator[ReadableSpan]:
    while spans:
        yield spans.popleft()[0]


def _events(events: deque[tuple[OpenEvent, int]], found: Replayed) -> Iterator[Row]:
    policy: ContentPolicy = found.header.policy
    while events:
        event, at_ns = events.popleft()
        failure = event_failure(event.event, policy)
        attributes: dict[str, Any] = dict(
            allowed(
                event_attributes(event.event, event.payload, event.moment.t, event.turn), policy
            )
        )
        if failure is not None:
            attributes[names.ERROR_TYPE] = failure.type
        yield Row(
            span_id=f"{event.span_id:016x}",
            parent_id=f"{found.header.root_span_id:016x}",
            name=event.event["type"],
            start_ns=event.moment.at_ns,
            end_ns=at_ns,
            failed=failure is not None,
            message=None if failure is None else failure.message,
            attributes=attributes,
        )


def _row(span: ReadableSpan, *, live: bool) -> Row:
    context, parent = span.get_span_context(), span.parent
    message = span.status.description
    open_still = live and message == DIED.message
    return Row(
        span_id=f"{0 if context is None else context.span_id:016x}",
        parent_id=None if parent is None else f"{parent.span_id:016x}",
        name=span.name,
        start_ns=span.start_time or 0,
        end_ns=None if open_still else span.end_time,
        failed=span.status.status_code is StatusCode.ERROR and not open_still,
        message=None if open_still else message,
        attributes=dict(span.attributes or {}),
    )
