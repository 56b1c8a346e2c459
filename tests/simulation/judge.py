"""Holds one simulated conversation's recording against the truth.

It looks at the file and at the facts, and knows none of the product's rules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from tests.simulation.microphone import CLIP
from tests.simulation.player import Sounded
from tests.simulation.recorded import Recorded, record
from tests.simulation.sound import Format, decode, matches, placed
from tests.simulation.styles import Style
from tests.simulation.world import Stretch, World

#: Two sounds that are closer than this adjoin.
ADJOINS_MS = 1.0
#: A call shorter than this, in minutes, counts as one of that length: each word has two ends.
SHORT_MIN = 0.5


@dataclass
class Verdict:
    """How far one recording is from the truth. All in ms but for the talk times.

    Attributes:
        style: the client's name.
        late: by how much its player was late at most.
        start: of each item that was heard, the distance of the beginnings.
        end: the same of the ends.
        heard: of each item, how much more or less of it is said to be heard than was.
        file: of each item, what is said to be heard less what is in the file.
        holes: silences inside of what was heard, or was said, without a break.
        kept: of each truncated item, what was kept less what was claimed.
        user: of each utterance, the distances of its first and last sample.
        lost: of each utterance, how much of it is not in the file.
        over: of each clip, how much of it lies over what the agent says, without need.
        length: of the file, less the call's.
        wait: of each answer, how much longer or shorter the user is said to have waited for it.
        user_talk, agent_talk, overlap, dead_air: the errors of those times, seconds a minute.
        foreign: samples of the agent's channel that nobody sent.
        mistaken: items that are left out: what the client claimed of them is not true.
        sources: what the facts name as source.
    """

    style: str
    late: float
    start: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)
    heard: list[float] = field(default_factory=list)
    file: list[float] = field(default_factory=list)
    holes: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    user: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    over: list[float] = field(default_factory=list)
    length: list[float] = field(default_factory=list)
    wait: list[float] = field(default_factory=list)
    user_talk: list[float] = field(default_factory=list)
    agent_talk: list[float] = field(default_factory=list)
    overlap: list[float] = field(default_factory=list)
    dead_air: list[float] = field(default_factory=list)
    foreign: int = 0
    mistaken: int = 0
    sources: set[str] = field(default_factory=set)


def judge(seed: int, style: Style, audio_format: Format, folder: Path) -> Verdict:
    """Simulate one conversation, record it, and compare."""
    world = World(seed, style, audio_format)
    world.run()
    recorded = record(world, folder)
    verdict = Verdict(style.name, world.late_ms)
    sounded = _sounded(world, recorded, verdict)
    _agent(world, recorded, sounded, verdict)
    said = _user(world, recorded, verdict)
    _talk(world, recorded, verdict)
    if style.sends == CLIP:
        verdict.over = list(_over(world, said))
    verdict.length = [recorded.length_ms - world.truth.close]
    return verdict


# --- the agent's side ---------------------------------------------------------------------------


def _sounded(world: World, recorded: Recorded, verdict: Verdict) -> list[Sounded]:
    """What of the agent is in the file, in the file's order."""
    source = decode(b"".join(world.pieces.values()), world.format)
    per_ms = world.format.rate_hz / 1000
    assert recorded.rate_hz == world.format.rate_hz
    found, starts = [], []
    at = 0
    for (item, begin), raw in world.pieces.items():
        starts.append((at, item, begin))
        at += len(raw) // world.format.width
    firsts = np.array([start for start, *_ in starts])
    for match in matches(recorded.agent, source):
        if match.place < 0:
            verdict.foreign += match.size
            continue
        at, place, left = match.at, match.place, match.size
        while left:
            index = int(np.searchsorted(firsts, place, "right")) - 1
            first, item, begin = starts[index]
            after = starts[index + 1][0] if index + 1 < len(starts) else source.size
            size = min(left, after - place)
            into = begin + (place - first) / per_ms
            found.append(Sounded(at / per_ms, item, into, size / per_ms))
            at, place, left = at + size, place + size, left - size
    return found


def _agent(world: World, recorded: Recorded, sounded: Sequence[Sounded], verdict: Verdict) -> None:
    truth, found = _by_item(world.truth.heard), _by_item(sounded)
    for item in dict.fromkeys(item for item, _ in world.pieces):
        real, here = truth[item], found[item]
        heard_ms = sum(one.ms for one in here)
        facts = recorded.facts.get(item)
        if facts is not None:
            verdict.sources.add(facts.source)
            verdict.file.append(facts.heard_ms - heard_ms)
            heard_ms = facts.heard_ms
        if item in world.truth.claims:
            verdict.kept.append(heard_ms - world.truth.claims[item])
        if item in world.truth.mistaken:
            verdict.mistaken += 1
            continue
        verdict.heard.append(heard_ms - sum(one.ms for one in real))
        if real and here:
            verdict.start.append(here[0].at - real[0].at)
            verdict.end.append(here[-1].end - real[-1].end)
    verdict.holes += _holes(world.truth.heard, sounded)
    _responses(world, recorded, found, verdict)


def _responses(
    world: World, recorded: Recorded, found: dict[str, list[Sounded]], verdict: Verdict
) -> None:
    """What spans say of whole responses."""
    for response, told_ms in recorded.heard_ms.items():
        own = world.items[response]
        verdict.file.append(told_ms - sum(one.ms for item in own for one in found[item]))
        heard = [one.at for one in world.truth.heard if one.item in own]
        if heard and response in recorded.waits_ms and response in world.truth.answered:
            waited = heard[0] - world.truth.answered[response]
            verdict.wait.append(recorded.waits_ms[response] - waited)


def _by_item(sounds: Iterable[Sounded]) -> dict[str, list[Sounded]]:
    found: dict[str, list[Sounded]] = defaultdict(list)
    for one in sounds:
        found[one.item].append(one)
    return found


def _holes(heard: Sequence[Sounded], sounded: Sequence[Sounded]) -> Iterator[float]:
    """Silences between two sounds that belong to what was heard in one go."""
    runs: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    run, end = 0, 0.0
    for one in heard:
        run += one.at - end > ADJOINS_MS
        end = one.end
        runs[one.item].append((one.begin, one.until, run))

    def run_of(item: str, place: float) -> int | None:
        inside = (run for begin, until, run in runs[item] if begin <= place <= until)
        return next(inside, None)

    for before, after in pairwise(sounded):
        gap = after.at - before.end
        if gap > ADJOINS_MS:
            left = run_of(before.item, before.until - 0.1)
            if left is not None and left == run_of(after.item, after.begin + 0.1):
                yield gap


# --- the user's side ----------------------------------------------------------------------------


def _user(world: World, recorded: Recorded, verdict: Verdict) -> list[Stretch]:
    """Where each utterance is in the file."""
    source = decode(bytes(world.microphone.raw), world.format)
    per_ms = recorded.rate_hz / 1000
    places, since = [], 0
    for said in world.truth.spoken:
        own = source[said.first : said.after]
        found = list(placed(recorded.user, own, since))
        verdict.lost.append((own.size - sum(match.size for match in found)) / per_ms)
        if not found:
            continue
        since = found[-1].at + found[-1].size
        places.append((found[0].at / per_ms, since / per_ms))
        if world.style.sends != CLIP:
            verdict.user += [places[-1][0] - said.start, places[-1][1] - said.end]
        for before, after in pairwise(found):
            gap = (after.at - before.at - before.size) / per_ms
            if gap > ADJOINS_MS:
                verdict.holes.append(gap)
    return places


def _over(world: World, said: Sequence[Stretch]) -> Iterator[float]:
    """A file has no time of its own: between what caused it and what answers it there may be room."""
    runs = _union((one.at, one.end) for one in world.truth.heard)
    for (start, end), clip in zip(said, world.truth.spoken, strict=False):
        caused = max((run_end for run, run_end in runs if run <= clip.start), default=0.0)
        answered = min((run for run, _ in runs if run > clip.start), default=world.truth.close)
        needless = _both([(start, end)], runs) - max(end - start - (answered - caused), 0.0)
        yield max(needless, 0.0)


# --- talk times ---------------------------------------------------------------------------------


def _talk(world: World, recorded: Recorded, verdict: Verdict) -> None:
    user = _union(world.truth.talked)
    agent = _union((one.at, one.end) for one in world.truth.heard)
    user_ms, agent_ms, both_ms = _total(user), _total(agent), _both(user, agent)
    silent_ms = world.truth.close - user_ms - agent_ms + both_ms
    minutes = max(world.truth.close / 60_000, SHORT_MIN)
    told = recorded.talk

    def error(name: str, real_ms: float) -> list[float]:
        return [(told[name] - real_ms / 1000) / minutes] if name in told else []

    verdict.user_talk = error("user_talk_s", user_ms)
    verdict.agent_talk = error("agent_talk_s", agent_ms)
    if world.style.sends != CLIP:
        verdict.overlap = error("overlap_s", both_ms)
        verdict.dead_air = error("dead_air_s", silent_ms)


def _union(stretches: Iterable[Stretch]) -> list[Stretch]:
    found: list[Stretch] = []
    for start, end in sorted(stretches):
        if found and start <= found[-1][1] + ADJOINS_MS:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _total(stretches: Iterable[Stretch]) -> float:
    return sum(end - start for start, end in stretches)


def _both(some: Iterable[Stretch], others: Sequence[Stretch]) -> float:
    return sum(
        max(min(end, other_end) - max(start, other_start), 0.0)
        for start, end in some
        for other_start, other_end in others
    )
