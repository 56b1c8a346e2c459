"""Anything at all, anywhere in the state directory: the healthy are delivered, nothing outside moves.

Each round plants things at random beside what a healthy process left, and inside it where that may
not hurt. ``make soak`` runs it long.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_realtime.recovery.sweep import recover
from otel_realtime.settings import Settings
from otel_realtime.state import owner
from otel_realtime.state.bounds import tidy
from tests.recovery.conftest import DEAD
from tests.recovery.healthy import FOLDER, HEADER, HEALTHY, HEALTHY_OWNER, RECORDS, SPOOLED, header
from tests.support import golden
from tests.support.langsmith_server import LangSmithServer

SECRET = b"nobody may read or change this"
ODD: list[object] = [
    None, True, -1, 2**63, 2**70, 1.5, 1e308, "", "x" * 70_000, "\ud800", "/etc/passwd", "../../up",
    "file:///etc", "s3://bucket", [], {}, [[[[]]]], {"a": {"b": {}}}, ["r", None],
]  # fmt: skip


PLACES = [
    "journal.jsonl", "user.raw", "agent.raw", "user-tap.raw", "delivered.json", "delivered.part",
    "stored.ids", "conversation.wav", "conversation.wav.part",
]  # fmt: skip
NAMES = [
    "a", "n" * 255, "n" * 200, "two words", os.fsdecode(b"\xff\xfe"), "-", ".hidden", "ü", "\n",
    "x.part", "%s%d", "$(id)",
]  # fmt: skip


class Planter:
    """Plants poison below a state directory.

    Args:
        chance: decides what, and where.
        state: the directory.
        outside: a folder with a secret, which links lead to.
    """

    def __init__(self, chance: random.Random, state: Path, outside: Path) -> None:
        self._chance = chance
        self._state = state
        self._outside = outside
        self.told: list[str] = []

    def plant(self) -> None:
        """Plant one thing."""
        where, what = self._place(), self._chance.choice(self._kinds())
        if os.path.lexists(where) or not Path(os.path.realpath(where.parent)).is_relative_to(
            self._state
        ):
            return  # a link is above it
        try:
            where.parent.mkdir(parents=True, exist_ok=True)
            what(where)
        except (OSError, ValueError):  # a name that no file can have, a parent that is a file
            return
        self.told.append(f"{what.__name__} at {where.relative_to(self._state)!s}"[:120])

    # -- where ---------------------------------------------------------------------------------------

    def _place(self) -> Path:
        chance, state = self._chance, self._state
        name, whose = self._name(), chance.choice([DEAD, "f" * 32, HEALTHY_OWNER, self._name()])
        folder = state / owner.CONVERSATIONS / f"{whose}-{name}"
        inside = chance.choice([*PLACES, name])
        # Inside the healthy one: not its journal, nor what says that it is done already.
        healthy = state / owner.CONVERSATIONS / HEALTHY["folder"]
        harmless = chance.choice(
            ["delivered.part", "conversation.wav", "conversation.wav.part", name]
        )
        return chance.choice(
            [
                folder,
                folder / inside,
                folder / inside,
                healthy / harmless,
                state / owner.OWNERS / f"{whose if whose != HEALTHY_OWNER else DEAD}.lock",
                state / owner.OWNERS / name,
                state / owner.SPOOL / (whose if whose != HEALTHY_OWNER else DEAD),
                state / owner.SPOOL / whose / f"{name}.spans",
                state / owner.SPOOL / whose / f"{name}.part",
                state / name,
            ]
        )

    def _name(self) -> str:
        return self._chance.choice(NAMES)

    # -- what ----------------------------------------------------------------------------------------

    def _kinds(self) -> list[Callable[[Path], None]]:
        return [
            self.nothing, self.folder, self.pipe, self.link_out, self.link_to_folder, self.loop,
            self.noise, self.deep, self.numbers, self.journal, self.journal, self.journal_cut,
            self.batch, self.batch_cut, self.unreadable, self.sparse, self.whole_call,
        ]  # fmt: skip

    def nothing(self, path: Path) -> None:
        path.touch()

    def folder(self, path: Path) -> None:
        path.mkdir()

    def pipe(self, path: Path) -> None:
        os.mkfifo(path)

    def link_out(self, path: Path) -> None:
        path.symlink_to(self._outside / "secret")

    def link_to_folder(self, path: Path) -> None:
        path.symlink_to(self._outside)

    def loop(self, path: Path) -> None:
        path.symlink_to(path.name)

    def noise(self, path: Path) -> None:
        path.write_bytes(self._chance.randbytes(self._chance.randrange(20_000)))

    def deep(self, path: Path) -> None:
        path.write_bytes(b'["open",0,' * 50_000)

    def numbers(self, path: Path) -> None:
        path.write_bytes(b'["open",0,{"trace_id":Infinity,"start_ns":NaN,"root_span_id":1e999}]\n')

    def journal(self, path: Path) -> None:
        """A header with odd values, and odd records."""
        fields = self._chance.sample(sorted(HEADER), self._chance.randrange(5))
        lines = [header(**{key: self._chance.choice(ODD) for key in fields})]
        for _ in range(self._chance.randrange(30)):
            record = json.loads(self._chance.choice(RECORDS))
            spot = self._chance.randrange(len(record))
            if isinstance(record[spot], dict) and record[spot] and self._chance.random() < 0.8:
                record[spot][self._chance.choice(list(record[spot]))] = self._chance.choice(ODD)
            else:
                record[spot] = self._chance.choice(ODD)
            lines.append(json.dumps(record).encode() + b"\n")
        path.write_bytes(b"".join(lines))

    def journal_cut(self, path: Path) -> None:
        whole = (FOLDER / "journal.jsonl").read_bytes()
        path.write_bytes(whole[: self._chance.randrange(len(whole))])

    def batch(self, path: Path) -> None:
        """A batch with an odd label, or an odd body."""
        line, _, body = SPOOLED.read_bytes().partition(b"\n")
        label = json.loads(line)
        label[self._chance.choice(sorted(label))] = self._chance.choice(ODD)
        body = self._chance.choice([body, b"", gzip.compress(b"\xff" * 99), gzip.compress(b"")])
        path.write_bytes(json.dumps(label).encode() + b"\n" + body)

    def batch_cut(self, path: Path) -> None:
        whole = SPOOLED.read_bytes()
        path.write_bytes(whole[: self._chance.randrange(len(whole))])

    def unreadable(self, path: Path) -> None:
        path.write_bytes(b"x")
        path.chmod(0)

    def sparse(self, path: Path) -> None:
        """Large, and empty."""
        with path.open("wb") as file:
            file.truncate(40_000_000)

    def whole_call(self, path: Path) -> None:
        """A call of another trace, with links in the place of its sound."""
        path.mkdir()
        ids = f"{self._chance.getrandbits(64) or 1:016x}"
        first = header(
            root_span_id=ids, trace_id=ids * 2, recordings_dir=str(self._outside / "kept")
        )
        (path / "journal.jsonl").write_bytes(first + "\n".join(RECORDS).encode() + b"\n")
        (path / "user.raw").symlink_to(self._outside / "secret")
        (path / "conversation.wav").symlink_to(self._outside / "secret")


def a_round(seed: int, things: int, server: LangSmithServer, folder: Path) -> None:
    """Plant, recover twice, and see that the healthy was delivered and nothing outside was touched."""
    chance = random.Random(seed)
    state, outside = folder / f"state{seed}", folder / f"outside{seed}"
    state, outside = state.resolve(), outside.resolve()
    golden.copy("0.1.0", state, url=server.url, recordings=folder, only=HEALTHY_OWNER)
    outside.mkdir()
    (outside / "secret").write_bytes(SECRET)
    planter = Planter(chance, state, outside)
    for _ in range(things):
        planter.plant()
    settings = Settings(state_dir=state)
    said: list[str] = []
    report = recover(settings, timeout_s=20, say=said.append)
    rows = [row for row in report.conversations if row["id"] == HEALTHY["run"]]
    done = [(row["delivered"], row["what"]) for row in rows]  # copies of it may be left
    assert (True, "recording: attached") in done, (seed, planter.told, report)
    assert report.spans >= len(HEALTHY["spooled"]), (seed, planter.told)
    # Each is named once; a long name is cut.
    paths = [row["path"] for row in report.unreadable if len(row["path"]) < 200]
    assert not any("\n" in line for line in said)
    assert len(paths) == len({*paths}), (seed, planter.told, paths)
    json.dumps(report.as_json()).encode()
    recover(settings, timeout_s=20)
    tidy(Settings(state_dir=state, state_max_mb=1), [])
    assert ["secret"] == [path.name for path in outside.iterdir()], (seed, planter.told)
    assert SECRET == (outside / "secret").read_bytes(), (seed, planter.told)
    sent = b"".join(request.body for request in server.requests)
    assert SECRET not in sent, (seed, planter.told)
    server.requests.clear()
    shutil.rmtree(state, ignore_errors=True)


@pytest.mark.timeout(170)
def test_a_few_rounds(server: LangSmithServer, tmp_path: Path) -> None:
    """Twelve rounds of twenty things."""
    for seed in range(12):
        a_round(seed, 20, server, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_many_rounds(server: LangSmithServer, tmp_path: Path) -> None:
    """Three hundred rounds of up to eighty things."""
    for seed in range(1_000, 1_300):
        a_round(seed, 10 + seed % 70, server, tmp_path)
