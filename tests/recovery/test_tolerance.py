"""What an earlier or a later version writes is read; what makes no sense costs only itself."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otel_realtime.errors import NewerFormatError, RecordingError
from otel_realtime.langsmith.payload import encode_json
from otel_realtime.recording.render import render
from otel_realtime.recovery.call import call_and_about
from otel_realtime.recovery.rebuild import Rebuilt, rebuild
from otel_realtime.recovery.replay import Replayed, replay
from otel_realtime.state import owner
from otel_realtime.state.header import Header
from otel_realtime.state.notes import _RULES as NOTES
from otel_realtime.state.sounds import _FIELDS as SOUNDS
from tests.recovery.conftest import DEAD
from tests.recovery.healthy import (
    FOLDER,
    HEADER,
    HEALTHY,
    HEALTHY_OWNER,
    RECORDS,
    SPOOLED,
    header,
    recovered,
)
from tests.support.langsmith_server import LangSmithServer

ESSENTIAL = {"trace_id", "root_span_id", "start_ns"}
ENDED_NS = HEADER["start_ns"] + 10**9
FIELDS = sorted({*HEADER, "format"})


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


WRONG: list[Any] = [None, [], {}, {"a": nested(900)}, "x", -1, 2**70, 1.5, True, nested(900)]


def plant(state: Path, number: int, without: str = "", **changes: Any) -> str:
    """Another conversation with such a header; returns its run's id."""
    folder = state / owner.CONVERSATIONS / f"{DEAD}-{number}"
    shutil.copytree(FOLDER, folder, copy_function=shutil.copyfile)
    ids = {"trace_id": f"{number + 1:032x}", "root_span_id": f"{number + 1:016x}"}
    fields = {**HEADER, **ids, "api_url": langsmith(state), **changes}
    fields.pop(without, None)
    first = json.dumps(["open", 0, fields])
    (folder / "journal.jsonl").write_text("\n".join([first, *RECORDS, ""]))
    return f"00000000-0000-0000-0000-{number + 1:012x}"


def langsmith(state: Path) -> str:
    """Where the healthy conversation goes."""
    first = (state / owner.CONVERSATIONS / HEALTHY["folder"] / "journal.jsonl").open().readline()
    return str(json.loads(first)[2]["api_url"])


def test_a_header_may_lack_any_field(state: Path, server: LangSmithServer) -> None:
    """All but the two ids and the start have a default: the conversation is delivered."""
    runs = {plant(state, number, key): key for number, key in enumerate(FIELDS)}
    report = recovered(state, server)
    delivered = {row["id"] for row in report.conversations if row["delivered"]}
    assert {*FIELDS} - ESSENTIAL == {runs[run] for run in delivered if run in runs}
    assert len(ESSENTIAL) == len(report.unreadable)
    assert ESSENTIAL == {row["why"].split()[-1] for row in report.unreadable}


def test_a_wrong_field_costs_no_other_conversation(
    state: Path, server: LangSmithServer, process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is of the wrong type counts as missing: only what is essential keeps one back."""
    process.chdir(tmp_path)  # one of them may name a folder to keep its recording in
    optional = [key for key in HEADER if key not in ESSENTIAL]
    cases = [(key, WRONG[n % len(WRONG)]) for n, key in enumerate(optional)]
    cases += [(key, nested(900)) for key in ESSENTIAL]
    runs = {plant(state, n, **dict([case])): case[0] for n, case in enumerate(cases)}
    report = recovered(state, server)
    delivered = {row["id"] for row in report.conversations if row["delivered"]}
    assert {*optional} == {runs[run] for run in delivered if run in runs}
    assert ESSENTIAL == {row["why"].split()[-1] for row in report.unreadable}


def written(folder: Path, *lines: bytes | list[Any]) -> Path:
    """A folder with such a journal."""
    folder.mkdir(parents=True, exist_ok=True)
    text = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    journal = folder / "journal.jsonl"
    journal.write_bytes(b"".join(line.rstrip(b"\n") + b"\n" for line in text))
    os.utime(journal, ns=(ENDED_NS, ENDED_NS))
    return folder


def remade(folder: Path, *lines: bytes | list[Any]) -> Rebuilt:
    """What recovery makes of such a journal."""
    return rebuild(replay(written(folder, *lines)), marked=True)


def test_without_a_policy_nothing_is_shown(tmp_path: Path) -> None:
    """Neither words nor sound go anywhere that no policy allows, whatever else the header says."""
    lines = [line.encode() for line in RECORDS]
    shown = remade(tmp_path / "shown", header(), *lines)
    assert "Loud and clear." in json.dumps(shown.closing.outputs)
    for number, policy in enumerate((None, {}, [], "x", {"inputs": 1, "outputs": "yes"})):
        folder = tmp_path / str(number)
        hidden = remade(folder, header(policy=policy, records=True, recorded=True), *lines)
        told = repr((hidden.closing, [dict(span.attributes or {}) for span in hidden.spans]))
        assert "Loud and clear." not in told
        assert "disabled" == hidden.closing.metadata["ls_audio_attach_status"]
        assert not replay(folder).header.recorded


def test_a_policy_only_becomes_stricter(tmp_path: Path) -> None:
    """A note that allows what the header hides changes nothing."""
    loose = ["policy", 5, {"inputs": True, "outputs": True, "audio": True}]
    policy = {"inputs": False, "outputs": True, "audio": False}
    found = replay(written(tmp_path / "a", header(policy=policy), loose)).header
    assert (False, True, False, False) == (
        found.policy.inputs,
        found.policy.outputs,
        found.policy.audio,
        found.recorded,
    )


def test_what_a_later_version_adds_is_ignored(tmp_path: Path) -> None:
    """More fields in the header, in notes and in records of sound, and kinds nobody knows."""
    more: list[Any] = []
    for line in RECORDS:
        kind, t, *rest = json.loads(line)
        if kind in NOTES:
            rest = [{**rest[0], "more": {"a": [1]}}, "more"]
        elif kind in ("user", "format", "agent", "speech"):
            left_out = {"user": 3, "agent": 6}.get(kind, 0) - len(rest)  # optional, and not there
            rest += [None] * left_out + [{"more": 1}]
        more += [[kind, t, *rest], ["tomorrow", t, {"more": 1}], ["tomorrow's", t]]
    plain = remade(tmp_path / "a", header(), *map(str.encode, RECORDS))
    again = remade(tmp_path / "b", header(more={"a": nested(9)}), *more)
    assert plain.closing == again.closing
    for folder in (tmp_path / "a", tmp_path / "b"):
        for source in FOLDER.glob("*.raw"):
            shutil.copyfile(source, folder / source.name)
        render(folder, folder / "out.wav")
    assert (tmp_path / "a/out.wav").read_bytes() == (tmp_path / "b/out.wav").read_bytes()


def newer_header(state: Path) -> Path:
    """A conversation of a later version."""
    folder = state / owner.CONVERSATIONS / f"{DEAD}-later"
    return written(folder, header(format=2, version="9.1.0", policy={"new": "shape"}))


def newer_batch(state: Path) -> Path:
    """A batch of a later version."""
    label, _, body = SPOOLED.read_bytes().partition(b"\n")
    fields = {**json.loads(label), "format": 2, "version": "9.1.0"}
    path = state / owner.SPOOL / HEALTHY_OWNER / "9-later.spans"
    path.write_bytes(json.dumps(fields).encode() + b"\n" + body)
    return path


@pytest.mark.parametrize("make", [newer_header, newer_batch])
def test_a_later_format_is_left_alone(
    make: Callable[[Path], Path],
    state: Path,
    server: LangSmithServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It stays as it is, is not counted as delivered, and is named with what to do, once."""
    planted = make(state)
    report = recovered(state, server)
    why = (
        "otel-realtime 9.1.0 wrote it in format 2; this version reads up to 1: "
        "recover it with the later version"
    )
    where = str(planted.relative_to(state))
    assert [{"path": where, "why": why}] == report.unreadable
    assert 1 == caplog.text.count(why)
    assert (False, 0) == (report.complete, report.spans_left)
    assert planted.exists()
    assert (state / owner.OWNERS / f"{planted.parent.name}.lock").exists() is planted.is_file()


def test_the_text_of_a_later_format_names_no_version_it_does_not_know() -> None:
    """A header without a version is by a later one all the same."""
    with pytest.raises(NewerFormatError, match="a later version wrote it in format 7;"):
        Header.from_wire({"format": 7})


def applied(folder: Path, *records: list[Any]) -> Replayed:
    """A journal with a session and these records."""
    return replay(written(folder, header(), *records))


def test_notes_need_not_say_everything(tmp_path: Path) -> None:
    """A note without what it may leave out is applied."""
    created = {"type": "session.created", "session": {"model": "gpt-realtime"}}
    found = applied(
        tmp_path / "open",
        ["event", 5, {"at": 10, "t": 5, "event": created}],
        ["event", 6, {"at": 11, "t": 6, "event": {"type": "rate_limits.updated"}, "span": "a1"}],
        ["span", 7, {"span": "b2", "parent": "a1", "at": 12}],
        ["span", 8, {"span": "c3", "parent": "a1", "at": 12}],
        ["end", 9, {"span": "c3"}],
        ["meta", 10, {"metadata": {"seat": 4}}],
        ["meta", 11, {"tags": ["a"]}],
        ["policy", 12, {"inputs": True}],
    )
    assert 2 == found.state.counts.events
    assert [0xB2] == [*found.spans]
    assert found.event is not None
    assert ("unnamed", 0xA1) == (found.spans[0xB2].name, found.event.span_id)
    assert ({"seat": 4}, ["a"]) == (found.header.who.metadata, found.header.who.tags)
    assert (True, False) == (found.header.policy.inputs, found.header.policy.outputs)
    over = applied(tmp_path / "over", ["ended", 13, {"at": 20, "t": 13}])
    assert over.ending is not None
    assert (True, "", None) == (over.ending.by_client, over.ending.reason, over.ending.failure)


BAD: list[list[Any]] = [
    ["event", 5, {"at": 1}],
    ["event", 5, {"at": 10, "t": 5, "event": {"type": 5}}],
    ["event", 5, {"at": -1, "t": 5, "event": {"type": "error"}}],
    ["event", 5, {"at": 10, "t": 5, "event": {"type": "error"}, "span": "zz"}],
    ["asked", 5, {}],
    ["span", 5, {"span": "1", "parent": "f" * 17, "at": 5}],
    ["end", 5, {"span": 5}],
    ["settled", 5, {"ids": 7}],
    ["meta", 5, {"metadata": 5}],
    ["start", 5, {"start_ns": "soon"}],
    ["policy", 5, []],
    ["ended", 5, {"at": 5}],
    ["user", 5, "x", None],
    ["user", 5, 0, -2],
    ["agent", 5, 0, 160],
    ["agent", 5, 0, 160, ["item"], 0, None],
    ["agent", 5, 0, 160, "item", 0, {}],
    ["hole", 5, "nobody", 160],
    ["format", 5, "user", {"type": "audio/mp9"}],
    ["truncate", 5, "item", 0, "soon", None],
    ["played", 5, "item", 0, None],
    ["tap", 5, "user", 0],
    ["buffer", 5, None],
]


def test_records_that_make_no_sense_are_counted_once(
    state: Path, server: LangSmithServer, caplog: pytest.LogCaptureFixture
) -> None:
    """One log line says how many were left out; all others count, and a torn last one is nothing."""
    journal = state / owner.CONVERSATIONS / HEALTHY["folder"] / "journal.jsonl"
    first, *rest = journal.read_bytes().splitlines()
    lines = [first]
    for number, line in enumerate(rest):
        lines += [line, json.dumps(BAD[number % len(BAD)]).encode()]
    journal.write_bytes(b"\n".join(lines) + b'\n["user",860000000,44')
    assert recovered(state, server).complete
    assert [f"ignoring {len(rest)} malformed records in the journal of {HEALTHY['folder']}"] == [
        record.getMessage() for record in caplog.records if "malformed" in record.getMessage()
    ]
    [sound] = [
        part.body
        for request in server.posts()
        for part in request.parts()
        if part.name.startswith("attachment.")
    ]
    whole = written(state / "whole", first, *rest)
    for source in FOLDER.glob("*.raw"):
        shutil.copyfile(source, whole / source.name)
    about = call_and_about(whole)[1]
    render(whole, whole / "out.wav", about=about)
    assert (whole / "out.wav").read_bytes() == sound


# -- any values at all ---------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 2**63, 2**64, 2**70, -1, 10**12])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["user", "agent", "a1", "item_a1", "ff", "response.done", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "at", "t", "event", "span", "parent", "id", "item", "rate"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)
KINDS = sorted({*SOUNDS, *NOTES})
RECORD = st.builds(
    lambda kind, t, rest: [kind, t, *rest],
    st.sampled_from(KINDS) | st.text(max_size=5),
    st.integers(0, 10**10) | st.integers(),
    st.lists(JSON, max_size=6),
)
NOTE = st.builds(
    lambda kind, t, data: [kind, t, data],
    st.sampled_from(sorted(NOTES)),
    st.integers(0, 10**10),
    st.fixed_dictionaries(
        {"at": st.integers(0, 2**64), "t": st.integers(-5, 10**10)},
        optional=dict.fromkeys(
            (
                *("event", "dir", "span", "n", "parent", "name", "kind", "scope", "attributes"),
                *("ids", "metadata", "tags", "start_ns", "inputs", "failure", "code", "reason"),
            ),
            JSON,
        ),
    ),
)
QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("value", WRONG, ids=lambda value: str(value)[:10])
def test_a_header_may_have_anything_in_any_field(value: Any, tmp_path: Path) -> None:
    """Each field with each wrong value is read, or the header is refused as a whole."""
    for key in FIELDS:
        try:
            rebuilt = remade(tmp_path / key, header(**{key: value}), *map(str.encode, RECORDS))
        except RecordingError:
            assert key in ESSENTIAL or (key, value) == ("format", 2**70)
            continue
        assert encode_spans(rebuilt.spans).ByteSize()
        assert key not in ESSENTIAL or (key, value) == ("start_ns", 1.5)


@QUICK
@given(fields=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6))
def test_any_header_is_read_or_refused(fields: dict[str, Any], tmp_path: Path) -> None:
    """Whatever its fields are: either it is refused as a whole, or all that is made of it encodes."""
    try:
        rebuilt = remade(tmp_path / "call", header(**fields), *map(str.encode, RECORDS))
    except RecordingError:
        assert {*fields} & {*ESSENTIAL, "format"}
        return
    assert encode_spans(rebuilt.spans).ByteSize()
    assert encode_json([rebuilt.opening.metadata, rebuilt.closing.metadata, rebuilt.closing.tags])


@QUICK
@given(records=st.lists(RECORD | NOTE, max_size=8))
def test_any_records_are_survived(records: list[list[Any]], tmp_path: Path) -> None:
    """Whatever is written between the records of a call: it is made, measured and rendered."""
    half = len(RECORDS) // 2
    whole = [json.loads(line) for line in RECORDS]
    folder = written(tmp_path / "call", header(), *whole[:half], *records, *whole[half:])
    shutil.copyfile(FOLDER / "user.raw", folder / "user.raw")
    rebuilt = rebuild(replay(folder), marked=True)
    assert encode_spans(rebuilt.spans).ByteSize()
    assert render(folder, folder / "out.wav").frames >= 0
