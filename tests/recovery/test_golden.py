"""What version 0.1.0 left on disk is delivered as 0.1.0 itself would have delivered it, or better.

Better than ``expected.json``, and asserted as it is now:

- ``spans_delivered`` counts what was sent: the root of ``refused``, which comes by the runs API, not;
- a killed conversation ends with the last record of any kind, not with the last one of its events or
  its sound: ``paused`` (its response was settled a second later), ``hidden`` and ``half``;
- the root's outputs say where its recording is kept (``refused``);
- the root says ``ls_agent_type``, which LangSmith's trajectory view starts from.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from otel_realtime import cli
from tests.support import golden
from tests.support.isolation import isolated, sandboxed
from tests.support.otlp_recorder import OtlpRecorder, Span
from tests.support.victims import files_below

RELEASED = golden.expected("0.1.0")
CALLS: dict[str, dict[str, Any]] = RELEASED["conversations"]
#: Another version says so in its runs; what a model call that had no span yet gets as its id is free.
FREE = ("ls_integration_version",)
NO_TALK = ("hidden", "half")
"""Where no sound was kept 0.1.0 counts no talk; nobody can know, so nothing is said of it now."""
TALK = {"user_talk_s", "agent_talk_s", "overlap_s", "dead_air_s", "longest_silence_s"}


@dataclass
class Recovered:
    """What today's ``recover`` made of a copy, run twice.

    Attributes:
        calls: by name, as ``expected.json`` has them.
        sounds: the recordings that were attached or kept, by name.
        others: what the other OTLP destination got.
    """

    codes: list[int] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    left: list[Path] = field(default_factory=list)
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    sounds: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    violations: list[Any] = field(default_factory=list)
    others: list[Span] = field(default_factory=list)


@pytest.fixture(scope="module")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recovered]:
    """Two recoveries of a copy, with another OTLP destination beside LangSmith."""
    folder, found = tmp_path_factory.mktemp("golden"), Recovered()
    with isolated(folder) as patch, sandboxed(folder, patch) as sandbox, OtlpRecorder() as otlp:
        kept = folder / "recordings"
        state = golden.copy("0.1.0", folder / "copy", url=sandbox.url, recordings=kept)
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint)
        patch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=another")
        patch.setenv("OTEL_REALTIME_RECORDINGS_DIR", str(kept))
        for _ in range(2):
            with redirect_stdout(io.StringIO()) as told:
                found.codes.append(cli.main(["recover", "--state-dir", str(state), "--json"]))
            found.reports.append(json.loads(told.getvalue()))
        found.left = files_below(state)
        found.kept = [path.name for path in kept.iterdir()]
        for name, call in CALLS.items():
            arrived = sandbox.conversation(call["run"])
            if arrived is not None:
                found.calls[name] = golden.arrived(arrived)
            path = sandbox.recording(call["run"])
            path = kept / call["kept_as"] if path is None and call["kept_as"] else path
            if path is not None:
                found.sounds[name] = golden.sound(path)
        found.violations = sandbox.violations()
        found.others = otlp.spans()
        yield found


def last_t(name: str) -> int:
    """Time of a conversation's last record, ns."""
    return int(journal(name)[-1][1])


def journal(name: str) -> list[Any]:
    """The records of a conversation's journal."""
    path = golden.GOLDEN / "0.1.0" / "state" / "conversations" / CALLS[name]["folder"]
    return [json.loads(line) for line in (path / "journal.jsonl").read_text().splitlines()]


def killed(name: str) -> bool:
    """Whether its process died before its end."""
    return "ended" not in CALLS[name]["journal"]


def better(name: str) -> dict[str, Any]:
    """What LangSmith must have of a conversation."""
    was: dict[str, Any] = json.loads(json.dumps(CALLS[name]["langsmith"]))
    if killed(name):
        records = journal(name)
        start_ns = next((r[2]["start_ns"] for r in records if r[0] == "start"), None)
        end_ns = (start_ns or records[0][2]["start_ns"]) + last_t(name)
        was["end_ns"] = max(was["end_ns"], end_ns // 1000 * 1000)
        was["metadata"]["duration_s"] = round((was["end_ns"] - was["start_ns"]) / 1e9, 3)
    was["metadata"]["ls_agent_type"] = "root"
    header = journal(name)[0][2]
    if header["recordings_dir"]:
        kept = f"{header['recordings_dir']}/{header['name']}.wav"
        audio = {"type": "uri", "modality": "audio", "mime_type": "audio/wav", "uri": kept}
        was["outputs"]["recording"] = audio
    return was


def frames(name: str) -> int:
    """Samples that a recording must have on each side."""
    was: dict[str, int] = CALLS[name]["recording"]
    if not killed(name):
        return was["frames"]
    return max(was["frames"], round(last_t(name) * was["rate_hz"] / 1e9))


def comparable(name: str, call: dict[str, Any]) -> dict[str, Any]:
    """A conversation without what a later version may say in another way."""
    unlike = {*FREE, *(TALK if name in NO_TALK else ())}
    facts = CALLS[name]["langsmith"]["metadata"].keys() - unlike  # later versions add to them
    known = {*CALLS[name]["spooled"], *CALLS[name]["open"]}
    return {
        **call,
        "metadata": {key: call["metadata"].get(key) for key in facts},
        # Behind its samples a recording says what it is; 0.1.0 had samples only.
        "attachments": [{**each, "size": None} for each in call["attachments"]],
        "below": [
            [*row[:3], row[3] if row[3][-17:].replace("-", "") in known else "made anew"]
            for row in call["below"]
        ],
        "errors_below": sorted(call["errors_below"].values()),
    }


def test_all_of_it_is_delivered(recovered: Recovered) -> None:
    """Each conversation and each span of the spool is reported once, and nothing is left."""
    first, second = recovered.reports
    rows = {row["id"]: row for row in first.pop("conversations")}
    assert {call["run"]: call["report"] for call in CALLS.values()} == rows
    assert {
        **RELEASED["recover"]["report"],
        "spans_delivered": 89,
        "spans_lost": 0,
        "unreadable": [],
    } == first
    assert [0, 0] == recovered.codes
    assert {**RELEASED["recover"]["second_report"], "spans_lost": 0, "unreadable": []} == second
    assert [] == recovered.left


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call["langsmith"]])
def test_langsmith_gets_what_it_got(recovered: Recovered, name: str) -> None:
    """Runs, names, statuses, errors, times, words and numbers are those of 0.1.0."""
    found = recovered.calls[name]
    assert comparable(name, better(name)) == comparable(name, found)
    for attached in found["attachments"]:
        assert 0 < attached["size"] - (44 + 4 * frames(name)) < 2_000


def test_the_contract_holds(recovered: Recovered) -> None:
    """Nothing of it is an orphan, comes twice, or lies outside its parent."""
    assert [] == recovered.violations
    assert {name for name, call in CALLS.items() if call["langsmith"]} == recovered.calls.keys()


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call["recording"]])
def test_the_recordings_sound_the_same(recovered: Recovered, name: str) -> None:
    """Sample for sample; one that is longer now ends in silence."""
    was, now = CALLS[name]["recording"], recovered.sounds[name]
    assert (was["channels"], was["rate_hz"], frames(name)) == (
        now["channels"],
        now["rate_hz"],
        now["frames"],
    )
    if was["frames"] == frames(name):
        assert was["sha256_of_samples"] == now["sha256_of_samples"]
    for side in ("user", "agent"):
        assert was[side]["sounds_ms"] == now[side]["sounds_ms"]
        heard = [level for level in was[side]["rms_per_100_ms"] if level]
        assert heard[:-1] == [level for level in now[side]["rms_per_100_ms"] if level][:-1]


def test_only_what_was_to_be_kept_is_kept(recovered: Recovered) -> None:
    """``recordings_dir`` gets the recording it was to get, with its JSON, and none kept before."""
    kept = [call["kept_as"] for call in CALLS.values() if call["kept_as"]]
    kept += [f"{Path(name).stem}.json" for name in kept]
    assert sorted(kept) == sorted(recovered.kept)
    assert {name for name, call in CALLS.items() if call["recording"]} == recovered.sounds.keys()


def test_another_destination_gets_what_was_open(recovered: Recovered) -> None:
    """Open spans and the root of each killed conversation, once; ``half`` had sent them before."""
    names = [name for name in CALLS if killed(name) and name != "half"]
    ids = Counter(span.span_id for span in recovered.others)
    assert {1} == set(ids.values())
    wanted = {span_id for name in names for span_id in CALLS[name]["open"]}
    wanted |= {CALLS[name]["run"][-17:].replace("-", "") for name in names}
    assert wanted <= ids.keys()
    assert {"chat gpt-realtime"} == {
        span.name for span in recovered.others if span.span_id not in wanted
    }
