"""The document of the format lists what is written, and the readers know all of it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from otel_realtime import state
from otel_realtime.core.audio import timeline
from otel_realtime.core.protocol.outcome import Identity, Provider
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.route import journal_note
from otel_realtime.state import header, notes, sounds, spool
from otel_realtime.state.header import Header
from otel_realtime.state.journal import SOURCES
from otel_realtime.state.progress import PROGRESS
from otel_realtime.tracing.members import Membership


def words(text: str | None) -> set[str]:
    """All names in a document."""
    return set(re.findall(r"[a-z_]+", text or ""))


def kinds(text: str | None) -> set[str]:
    """The kinds of record that a document lists."""
    return set(re.findall(r'\["([a-z_]+)"', text or ""))


def written() -> Mapping[str, object]:
    """A header as this version writes it."""
    membership = Membership(root_span_id=2, trace_id=1, start_ns=3, thread_id="t", leg="direct")
    who = Identity(thread_id="t", given_thread_id=True, provider=Provider())
    config = LangSmithConfig(api_url="http://x", api_key="k", project="p")
    made = Header(trace_id=1, root_span_id=2, start_ns=3, who=who)
    made.backend = journal_note(config, membership)
    return made.to_wire()


def test_every_kind_of_record_is_documented_and_read() -> None:
    """Notes where they are written, records of the sound where they are applied."""
    assert notes._RULES.keys() == kinds(notes.__doc__)
    assert sounds._FIELDS.keys() == kinds(timeline.__doc__)


def test_every_field_is_documented() -> None:
    """Of the header, and of the label of a batch."""
    document = words(state.__doc__)
    assert set() == {*written()} - document
    assert set() == {*spool.Label("http://x", "p", 1, 1).to_wire()} - document
    assert header._OWN <= {*written()}


def test_every_file_is_documented() -> None:
    """By its name."""
    names = [*SOURCES.values(), PROGRESS, "journal.jsonl", "conversation.wav"]
    assert [] == [name for name in names if name not in (state.__doc__ or "")]
