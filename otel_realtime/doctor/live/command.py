"""Asks for permission, writes the trace, reads it back, and prints the answers."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from otel_realtime import console
from otel_realtime.attributes import ATTACHMENT_NAME
from otel_realtime.doctor.live.answers import Seen, answer_all, none_of_them
from otel_realtime.doctor.live.experiment import NAME, Experiment, header_project
from otel_realtime.doctor.live.questions import Answer
from otel_realtime.doctor.live.reading import Reader, attachment_of
from otel_realtime.doctor.masking import Mask
from otel_realtime.doctor.model import Surroundings
from otel_realtime.errors import ConfigError
from otel_realtime.langsmith.config import agent_of

#: Time between the early span and its root's post: share of the total time, and maximum in seconds.
_EARLY: Final = 0.03
_EARLY_MOST_S: Final = 2.0
#: Time that one request may take: share of the total time, minimum and maximum in seconds.
_REQUEST: Final = 0.2
_REQUEST_LEAST_S: Final = 0.1
_REQUEST_MOST_S: Final = 15.0
#: Share of the total time in which the root has to become readable before its end.
_VISIBLE: Final = 0.2
#: How much longer than its time the experiment may take to end, in seconds.
_GRACE_S: Final = 2.0


@dataclass(slots=True)
class Outcome:
    """The outcome of the experiment.

    Attributes:
        answers: one for each question.
        run_id: id of the root run.
        url: its page; ``None`` if it is not known.
        written: whether the root was accepted.
    """

    answers: list[Answer] = field(default_factory=list)
    run_id: str = ""
    url: str | None = None
    written: bool = False

    @property
    def complete(self) -> bool:
        """Whether every question that a call depends on was answered with yes."""
        return all(one.text == "yes" for one in self.answers if one.question.needed)

    def as_json(self, mask: Mask) -> dict[str, Any]:
        """The outcome as JSON values, without credentials."""
        answers = [{**one.as_json(), "why": mask(one.why)} for one in self.answers]
        url = None if self.url is None else mask(self.url)
        return {"run_id": self.run_id, "url": url, "written": self.written, "answers": answers}


def agrees(here: Surroundings, attachment_mb: float) -> bool:
    """Print what will be written, and return whether the user agrees."""
    config = here.config
    size = f"{attachment_mb:g} MB" if attachment_mb else "a second of sound"
    what = f"--live writes one trace {NAME!r}, a root and five spans with {size} attached, to "
    lines = [what + f"{config.address}, project {config.project}."]
    if agent_of(config.project) is None:
        other = header_project(config.project)
        lines.append(f"The header of one request names a project {other}, which may be made by it.")
    lines.append("Nothing is deleted. Write it? [y/N] ")
    sys.stderr.write(here.mask("\n".join(lines)))
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def run(here: Surroundings, *, timeout_s: float, attachment_mb: float) -> Outcome:
    """Write the trace, read it back, and answer the questions.

    Args:
        here: LangSmith's address and key.
        timeout_s: time for all of it, in seconds.
        attachment_mb: size of the recording in MB; 0: a second of sound.
    """
    outcome = Outcome(none_of_them(f"it did not end within {timeout_s:g} s"))
    # In a separate thread, because waiting for a server that answers byte by byte cannot be interrupted.
    work = threading.Thread(
        target=_work, args=(here, timeout_s, attachment_mb, outcome), daemon=True
    )
    work.start()
    work.join(timeout_s + _GRACE_S)
    return outcome


def require_client() -> None:
    """Check that LangSmith's client is installed, before anything is written.

    Raises:
        ConfigError: its version cannot read a run.
        ModuleNotFoundError: it is not installed.
    """
    client = import_module("langsmith")
    if not hasattr(client.Client, "read_run"):
        raise ConfigError(
            f"--live reads with read_run(), which langsmith {client.__version__} does not have: "
            'pip install "langsmith<0.16"'
        )


def _work(here: Surroundings, timeout_s: float, attachment_mb: float, outcome: Outcome) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix="otel-realtime-doctor-") as folder:
            _experiment(here, timeout_s, attachment_mb, outcome, Path(folder))
    except Exception as error:  # noqa: BLE001 - the error becomes the reason of the answers
        outcome.answers = none_of_them(f"{type(error).__name__}: {error}")


def _experiment(
    here: Surroundings, timeout_s: float, attachment_mb: float, outcome: Outcome, folder: Path
) -> None:
    began, config = time.monotonic(), here.config
    request_s = min(max(timeout_s * _REQUEST, _REQUEST_LEAST_S), _REQUEST_MOST_S)
    experiment = Experiment(config, folder, request_s)
    written = experiment.written
    reader = Reader(config, written.start_ns, request_s)
    early, outcome.run_id = None, written.root_id
    experiment.send_early()
    time.sleep(min(timeout_s * _EARLY, _EARLY_MOST_S))
    if experiment.post():
        outcome.written = True
        project = experiment.find_project()
        reader.project_id = project and project[1]
        looked = reader.wait([written.root_id], began + timeout_s * _VISIBLE)
        early = looked.get(written.root_id)
        experiment.send_children()
        experiment.patch(attachment_mb)
    since, runs = time.monotonic(), dict[str, Any]()
    if outcome.written:
        ids = [written.root_id, *(stamp.run_id for stamp in written.stamps.values())]
        runs = reader.wait(ids, began + timeout_s, _whole(written.root_id))
        outcome.url = experiment.url()
    outcome.answers = answer_all(
        Seen(
            written=written,
            early=early,
            runs=runs,
            errors=reader.errors,
            waited_s=time.monotonic() - since,
            limit_mb=config.attachment_limit(here.settings.max_attachment_mb) / 1e6,
        )
    )


def _whole(root_id: str) -> Callable[[Any], bool]:
    """Return a function that says whether a run is complete: the root only after its patch."""

    def is_whole(run: Any) -> bool:
        if str(run.id) != root_id:
            return True
        return bool(run.end_time and run.outputs and attachment_of(run, ATTACHMENT_NAME)[0])

    return is_whole


def print_outcome(outcome: Outcome, mask: Mask) -> None:
    """Print the answers as a table, and the location of the trace."""
    console.say("What LangSmith's documentation leaves open", style="bold")
    rows = [
        (one.question.id, one.text, f"{one.question.text} {mask(one.why)}".strip())
        for one in outcome.answers
    ]
    console.say_table(("id", "answer", "question, and what was seen"), rows)
    if outcome.written:
        where = mask(outcome.url or f"run {outcome.run_id}")
        console.say(f"The trace stays where it is: {where}")
    console.say()
