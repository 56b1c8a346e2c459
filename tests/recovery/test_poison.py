"""Whatever one file, folder or owner holds, the others are delivered, and the report names it.

Beside each poison stands what a healthy process left: one conversation and its spool.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import time
import wave
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from otel_realtime import cli
from otel_realtime.recovery.sweep import recover
from otel_realtime.settings import Settings
from otel_realtime.state import owner
from otel_realtime.state.bounds import tidy
from tests.recovery.conftest import DEAD
from tests.recovery.healthy import (
    HEADER,
    HEALTHY,
    HEALTHY_OWNER,
    SPOOLED,
    header,
    recovered,
)
from tests.support.langsmith_server import LangSmithServer

DEEP = b"[" * 100_000 + b"]" * 100_000
Poison = Callable[[Path], Path]


def in_journal(content: bytes, whose: str = DEAD) -> Poison:
    """A conversation with this journal."""

    def plant(state: Path) -> Path:
        folder = state / owner.CONVERSATIONS / f"{whose}-poison"
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(content)
        return folder

    return plant


def in_spool(content: bytes, whose: str = HEALTHY_OWNER) -> Poison:
    """A batch with this content."""

    def plant(state: Path) -> Path:
        path = state / owner.SPOOL / whose / "0-poison.spans"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    return plant


def batch(body: bytes, **changes: Any) -> bytes:
    """A batch: its label and its body."""
    label = {"api_url": "http://x", "project": "calls", "spans": 1, "size": 9, **changes}
    return json.dumps(label).encode() + b"\n" + body


def at(path: str, make: Callable[[Path], object], named: str = "") -> Poison:
    """Something else in a file's or a folder's place; ``named``: what the report calls it."""

    def plant(state: Path) -> Path:
        where = state / path
        where.parent.mkdir(parents=True, exist_ok=True)
        make(where)
        return state / (named or path)

    return plant


def dangle(path: Path) -> None:
    """A link to nothing."""
    path.symlink_to(path.parent / "nowhere")


def listen(path: Path) -> None:
    """A socket; its path must be short."""
    before = os.getcwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(before)


CONVERSATION = f"{owner.CONVERSATIONS}/{DEAD}-poison"
SAME_OWNER = f"{owner.CONVERSATIONS}/{HEALTHY_OWNER}-poison"
BATCH = f"{owner.SPOOL}/{HEALTHY_OWNER}/0-poison.spans"
BODY = SPOOLED.read_bytes().partition(b"\n")[2]

POISONS: dict[str, Poison] = {
    "journal: deep": in_journal(DEEP + b"\n"),
    "journal: deep, of the same owner": in_journal(DEEP + b"\n", HEALTHY_OWNER),
    "journal: a deep header": in_journal(b'["open",0,' + DEEP + b"]\n"),
    "journal: Infinity": in_journal(b'["open",0,{"start_ns":Infinity}]\n'),
    "journal: NaN": in_journal(b'["open",0,{"start_ns":NaN}]\n'),
    "journal: NULs": in_journal(b"\0" * 5_000),
    "journal: NULs in a line": in_journal(b'["open",0,{"\0":1}]\n'),
    "journal: invalid UTF-8": in_journal(b"\xff\xfe\xfa\n"),
    "journal: another encoding": in_journal('["open",0,{}]\n'.encode("utf-16")),
    "journal: one endless line": in_journal(b'["open",0,{"' + b"x" * 33_000_000),
    "journal: a later format": in_journal(header(format=2, version="9.1")),
    "journal: no ids": in_journal(b'["open",0,{}]\n'),
    "journal: a folder": at(f"{CONVERSATION}/journal.jsonl", Path.mkdir, CONVERSATION),
    "journal: a pipe": at(f"{CONVERSATION}/journal.jsonl", os.mkfifo, CONVERSATION),
    "journal: a pipe, of the same owner": at(f"{SAME_OWNER}/journal.jsonl", os.mkfifo, SAME_OWNER),
    "journal: a socket": at(f"{CONVERSATION}/journal.jsonl", listen, CONVERSATION),
    "journal: a link to nothing": at(f"{CONVERSATION}/journal.jsonl", dangle, CONVERSATION),
    "conversation: a file": at(SAME_OWNER, Path.touch),
    "conversation: a pipe": at(CONVERSATION, os.mkfifo),
    "conversation: a link to nothing": at(CONVERSATION, dangle),
    "conversation: a link to a folder": at(SAME_OWNER, lambda path: path.symlink_to("/")),
    "conversation: a name that is no UTF-8": at(
        os.fsdecode(CONVERSATION.encode() + b"\xff"), Path.touch
    ),
    "owner: a name of 255 characters": at(
        f"{owner.CONVERSATIONS}/{'o' * 255}", Path.mkdir, f"{owner.OWNERS}/{'o' * 255}.lock"
    ),
    "owner: a lock that is a folder": lambda state: (
        in_journal(header())(state),
        at(f"{owner.OWNERS}/{DEAD}.lock", Path.mkdir)(state),
    )[1],
    "owner: a lock that is a link to nowhere": lambda state: (
        in_journal(header())(state),
        at(f"{owner.OWNERS}/{DEAD}.lock", lambda path: path.symlink_to("/nowhere/at/all"))(state),
    )[1],
    "spool: a file in an owner's place": at(f"{owner.SPOOL}/{DEAD}", Path.touch),
    "spool: a link in an owner's place": at(f"{owner.SPOOL}/{DEAD}", dangle),
    "batch: no label": in_spool(b"foreign"),
    "batch: a broken label": in_spool(b'{"api_url":\n' + BODY),
    "batch: a deep label": in_spool(DEEP + b"\n" + BODY),
    "batch: a label that is a list": in_spool(b"[]\n" + BODY),
    "batch: numbers for texts": in_spool(batch(BODY, api_url=7)),
    "batch: a deep project": in_spool(batch(BODY, project=[[[{}]]])),
    "batch: a later format": in_spool(batch(BODY, format=2, version="9.1")),
    "batch: no body": in_spool(batch(b"")),
    "batch: truncated": in_spool(batch(BODY[:-20])),
    "batch: not gzipped": in_spool(batch(b"\0" * 100)),
    "batch: gzipped nonsense": in_spool(batch(gzip.compress(b"\xff" * 100))),
    "batch: a bomb": in_spool(batch(gzip.compress(bytes(300_000_000), 1))),
    "batch: a folder": at(BATCH, Path.mkdir),
    "batch: a pipe": at(BATCH, os.mkfifo),
    "batch: a link to nothing": at(BATCH, dangle),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
def test_the_others_are_delivered(
    poison: Poison, state: Path, server: LangSmithServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The healthy ones arrive, the poison stays, and the report and one log line name it."""
    named = poison(state)
    kept = entries(state) - entries(state / owner.CONVERSATIONS / HEALTHY["folder"])
    reports = [recovered(state, server), recover(Settings(state_dir=state), timeout_s=20)]
    where = str(named.relative_to(state)).encode("utf-8", "backslashreplace").decode()[:200]
    for report in reports:
        assert [where] == [row["path"] for row in report.unreadable]
        assert not report.complete
    assert ([], 0) == ([row for row in reports[1].conversations if row["delivered"]], 0)
    assert kept - entries(state) <= {state / owner.SPOOL / HEALTHY_OWNER, *left_behind(state)}
    assert 2 == caplog.text.count("recovery could not read 1 files or folders")


def entries(folder: Path) -> set[Path]:
    """The folder and everything in it."""
    return {folder, *folder.rglob("*")}


def left_behind(state: Path) -> set[Path]:
    """What of the healthy process may be gone."""
    lock = state / owner.OWNERS / f"{HEALTHY_OWNER}.lock"
    return {lock, state / owner.SPOOL / HEALTHY_OWNER / SPOOLED.name}


@pytest.mark.skipif(os.geteuid() == 0, reason="no mode keeps root out")
@pytest.mark.parametrize(
    ("path", "named"), [(f"{CONVERSATION}/journal.jsonl", CONVERSATION), (BATCH, BATCH)]
)
def test_a_file_that_may_not_be_read(
    path: str, named: str, state: Path, server: LangSmithServer
) -> None:
    """It stays, and is named."""
    at(path, lambda file: file.touch(0))(state)
    assert [named] == [row["path"] for row in recovered(state, server).unreadable]
    assert (state / path).exists()


@pytest.mark.parametrize(
    ("name", "spooled"), [(owner.OWNERS, 11), (owner.SPOOL, 0), (owner.CONVERSATIONS, 11)]
)
def test_a_file_in_the_place_of_a_whole_folder(
    name: str, spooled: int, state: Path, server: LangSmithServer, tmp_path: Path
) -> None:
    """What stands in the other folders is delivered."""
    (state / name).rename(tmp_path / "away")
    (state / name).write_text("no folder")
    report = recover(Settings(state_dir=state), timeout_s=20)
    assert [name] == [row["path"] for row in report.unreadable]
    assert spooled == report.spans
    delivered = [row["id"] for row in report.conversations if row["delivered"]]
    assert ([] if name == owner.CONVERSATIONS else [HEALTHY["run"]]) == delivered


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text('{"root": true, "otlp": true, "spans": true}'),
        lambda path: path.write_text('"root"'),
        lambda path: path.write_text('[["root"], null, 7, {"root": "root"}]'),
        lambda path: path.write_bytes(DEEP),
        lambda path: path.write_bytes(b'["ro'),
        lambda path: path.write_bytes(b"\xff\0"),
        Path.mkdir,
        os.mkfifo,
        dangle,
    ],
    ids=["object", "text", "mixed", "deep", "torn", "bytes", "folder", "pipe", "link"],
)
@pytest.mark.timeout(60)
def test_nonsense_for_what_was_delivered(
    make: Callable[[Path], object], state: Path, server: LangSmithServer
) -> None:
    """Then nothing was, and the conversation is delivered."""
    make(state / owner.CONVERSATIONS / HEALTHY["folder"] / "delivered.json")
    assert recovered(state, server).complete


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["user.raw", "agent.raw", "user-tap.raw"])
def test_a_pipe_in_the_place_of_sound(name: str, state: Path, server: LangSmithServer) -> None:
    """It is silence, and nobody waits for it."""
    path = state / owner.CONVERSATIONS / HEALTHY["folder"] / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    report = recover(Settings(state_dir=state), timeout_s=20)
    assert ([True], 11) == ([row["delivered"] for row in report.conversations], report.spans)


def test_records_that_would_never_end(state: Path, server: LangSmithServer) -> None:
    """Times and sizes beyond any call cost neither memory nor disk."""
    journal = state / owner.CONVERSATIONS / HEALTHY["folder"] / "journal.jsonl"
    with journal.open("ab") as file:
        for line in (
            b'["user",%d,0,160]' % 2**50, b'["user",%d,0,160]' % 2**62, b'["user",-5,0,160]',
            b'["hole",860000000,"user",%d]' % 2**60, b'["tap",860000000,"user",0,%d]' % 2**40,
            b'["user",860000000,0,%d]' % 2**50, b'["user",860000000,-7,160]',
            b'["agent",860000000,0,-160,"item_a1",0,"resp_1"]', b'["pause",%d]' % 2**70,
            b'["played",860000000,"item_a1",0,1e999]', b'["format",860000000,"user",{"rate":0}]',
            b'["settled",%d,{"ids":[]}]' % 2**63, b'["asked",860000000,{"at":%d}]' % 2**63,
        ):  # fmt: skip
            file.write(line + b"\n")
    died_ns = HEADER["start_ns"] + 10**9
    os.utime(journal, ns=(died_ns, died_ns))
    assert recovered(state, server).complete
    [attached] = [
        part
        for request in server.posts()
        for part in request.parts()
        if part.name.startswith("attachment.")
    ]
    with wave.open(BytesIO(attached.body)) as sound:
        assert HEALTHY["recording"]["frames"] == sound.getnframes()


def test_names_that_no_terminal_shows(
    state: Path, server: LangSmithServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command tells of them as well as it can."""
    at(os.fsdecode(CONVERSATION.encode() + b"\xff"), Path.touch)(state)
    strange = header(thread_id="half of \ud83d", root_span_id="1" * 16, api_url=server.url)
    in_journal(strange)(state)
    assert 1 == cli.main(["recover", "--state-dir", str(state), "--json"])
    told = capsys.readouterr()
    assert 2 == json.loads(told.out)["delivered"]
    assert "half of \\ud83d" in told.err


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
@pytest.mark.parametrize("days", [0, 15])
def test_bounds_survive_it(days: int, poison: Poison, state: Path, tmp_path: Path) -> None:
    """``tidy`` deletes what is too old, whatever it is, and nothing that lives."""
    owner.claim_state(state)
    live = owner.new_folder(state)
    theirs = state / owner.CONVERSATIONS / f"{HEALTHY_OWNER}-theirs"
    for folder in (live, theirs):
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(header())
    poison(state)
    when = time.time() - days * 86_400
    for path in state.rglob("*"):
        os.utime(path, (when, when), follow_symlinks=False)
    before = entries(state)
    tidy(Settings(state_dir=state), [live])
    assert live.exists()
    assert theirs.exists() is (not days)
    if not days:
        assert before == entries(state)
