"""Compares the trace that was written with the one that was read, and answers the questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_realtime.attributes import ATTACHMENT_NAME
from otel_realtime.doctor.live import questions as ask
from otel_realtime.doctor.live.experiment import LEFT_OUT, OUTPUTS, Written
from otel_realtime.doctor.live.questions import QUESTIONS, Answer, AnswerText, Question
from otel_realtime.doctor.live.reading import attachment_of
from otel_realtime.langsmith.statuses import TOO_LARGE

#: An answer, and its reason.
Found = tuple[AnswerText, str]
_REQUESTS: Final = {"post": "root's post", "patch": "root's patch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The trace as it was written and as it was read.

    Attributes:
        written: what was sent.
        early: the root as read before its end; ``None`` if it could not be read.
        runs: runs by id, as read at the end.
        errors: why the other runs could not be read, by id.
        waited_s: how long the reader waited for the runs, in seconds.
        limit_mb: largest attachment that the settings allow, in MB.
    """

    written: Written
    early: Any
    runs: Mapping[str, Any]
    errors: Mapping[str, str]
    waited_s: float
    limit_mb: float

    @property
    def root(self) -> Any:
        """The root as read at the end; ``None`` if it could not be read."""
        return self.runs.get(self.written.root_id)

    def child(self, name: str) -> Any:
        """Return the run of a span; ``None`` if it could not be read."""
        stamp = self.written.stamps.get(name)
        return None if stamp is None else self.runs.get(stamp.run_id)

    def unread(self, run_id: str) -> Found:
        """Return "unknown", because a run could not be read."""
        why = self.errors.get(run_id, "there was no time to ask for it")
        return "unknown", f"it could not be read within {self.waited_s:.0f} s: {why}"

    def refused(self, *names: str) -> Found | None:
        """Return "unknown" if one of the requests was not accepted; ``None`` if all were."""
        for name in names:
            if not self.written.accepted(name):
                answer = self.written.answers.get(name)
                why = "it was not sent" if answer is None else str(answer)
                return "unknown", f"the {_REQUESTS.get(name, 'span')} was not accepted: {why}"
        return None


def answer_all(seen: Seen) -> list[Answer]:
    """Return an answer to each question."""
    return [_answered(question, seen) for question in QUESTIONS]


def none_of_them(why: str) -> list[Answer]:
    """Return "unknown" for each question."""
    return [Answer(question, "unknown", why) for question in QUESTIONS]


def _answered(question: Question, seen: Seen) -> Answer:
    text, why = _ANSWERS[question](seen)
    return Answer(question, text, why)


# -- the root --------------------------------------------------------------------------------------


def _visible(seen: Seen) -> Found:
    if (refused := seen.refused("post")) is not None:
        return refused
    if seen.early is None:
        if seen.root is not None:
            return "no", "it could be read only after its end"
        return seen.unread(seen.written.root_id)
    if seen.early.end_time is None:
        return "yes", "it was read without an end"
    return "no", "it was read with an end that nobody had sent"


def _patched(seen: Seen) -> Found:
    if (refused := seen.refused("post", "patch")) is not None:
        return refused
    if seen.root is None:
        return seen.unread(seen.written.root_id)
    if seen.root.end_time is None:
        return "no", f"it was accepted, and the run has no end after {seen.waited_s:.0f} s"
    if (seen.root.outputs or {}).get("messages") != OUTPUTS["messages"]:
        return "no", f"it was accepted, and the outputs are missing after {seen.waited_s:.0f} s"
    return "yes", "both came back"


def _attachment(seen: Seen) -> Found:
    if (refused := seen.refused("post", "patch")) is not None:
        return refused
    if seen.root is None or seen.written.sound is None:
        return seen.unread(seen.written.root_id)
    there, data, error = attachment_of(seen.root, ATTACHMENT_NAME)
    if not there:
        return "no", f"it was accepted, and is not there after {seen.waited_s:.0f} s"
    if data is None:
        return "unknown", f"it is listed, and cannot be downloaded: {error}"
    if data != seen.written.sound.read_bytes():
        return "no", f"{len(data):,} bytes came back, and they are others"
    return "yes", f"{len(data):,} bytes came back"


def _attachment_size(seen: Seen) -> Found:
    sound, answer = seen.written.sound, seen.written.answers.get("patch")
    if sound is None or answer is None:
        return "unknown", "it was not sent"
    sent_mb = sound.stat().st_size / 1e6
    if answer.status == TOO_LARGE:
        return "no", f"{sent_mb:.1f} MB were refused: {answer}"
    text, why = _attachment(seen)
    if text != "yes":
        return "unknown", why
    if sent_mb < seen.limit_mb:
        limit = f"{seen.limit_mb:g}"
        return "unknown", f"only {sent_mb:.1f} MB were sent; --attachment-mb {limit} sends as much"
    return "yes", f"{sent_mb:.0f} MB came back"


def _metadata(seen: Seen) -> Found:
    if (refused := seen.refused("post", "patch")) is not None:
        return refused
    if seen.root is None:
        return seen.unread(seen.written.root_id)
    if seen.root.end_time is None:
        return "unknown", "the patch did not reach the run"
    metadata = (seen.root.extra or {}).get("metadata") or {}
    if LEFT_OUT in metadata:
        return "yes", "it is still there"
    return "no", "the patch's metadata took its place"


# -- spans -----------------------------------------------------------------------------------------


def _below(seen: Seen, name: str) -> Found:
    """Answer whether a span became a run below the root."""
    if (refused := seen.refused("post", name)) is not None:
        return refused
    run, root_id, run_id = seen.child(name), seen.written.root_id, seen.written.stamps[name].run_id
    if run is None:
        # Only if the root can be read does "not found" say something about the span.
        if seen.root is not None and "NotFound" in seen.errors.get(run_id, ""):
            return "no", f"it was accepted, and is not there after {seen.waited_s:.0f} s"
        return seen.unread(run_id)
    parent, trace = str(run.parent_run_id), str(run.trace_id)
    if (parent, trace) != (root_id, root_id):
        return "no", f"its parent is {parent} and its trace {trace}; the root is {root_id}"
    return "yes", "its parent and its trace are the root"


def _dotted(seen: Seen) -> Found:
    if (refused := seen.refused("post", "second")) is not None:
        return refused
    stamp, run = seen.written.stamps["second"], seen.child("second")
    if run is None:
        return seen.unread(stamp.run_id)
    if run.dotted_order != stamp.dotted_order:
        return "no", f"{run.dotted_order} came back instead of {stamp.dotted_order}"
    return "yes", "it came back unchanged"


def _project(seen: Seen) -> Found:
    if seen.written.accepted("post") and "header" not in seen.written.stamps:
        return "unknown", "an agent is addressed, by headers only"
    if (refused := seen.refused("post", "header")) is not None:
        return refused
    run, root = seen.child("header"), seen.root
    if run is None:
        return seen.unread(seen.written.stamps["header"].run_id)
    if root is None:
        return seen.unread(seen.written.root_id)
    if run.session_id != root.session_id:
        return "no", f"the span is in the project {run.session_id}, its root in {root.session_id}"
    return "yes", "the span is in its root's project"


def _otlp_size(seen: Seen) -> Found:
    answer = seen.written.answers.get("large")
    if answer is not None and answer.status == TOO_LARGE:
        return "no", str(answer)
    return _below(seen, "large")


_ANSWERS: Final[Mapping[Question, Callable[[Seen], Found]]] = {
    ask.VISIBLE: _visible,
    ask.PATCHED: _patched,
    ask.ATTACHMENT: _attachment,
    ask.CHILDREN: lambda seen: _below(seen, "first"),
    ask.EARLY: lambda seen: _below(seen, "early"),
    ask.DOTTED: _dotted,
    ask.PROJECT: _project,
    ask.METADATA: _metadata,
    ask.OTLP_SIZE: _otlp_size,
    ask.ATTACHMENT_SIZE: _attachment_size,
}
