"""Conversations that wait for another socket."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from otel_realtime.process.waiting import Place, WaitingRoom
from otel_realtime.tap.owners import Owner


class Conversation:
    """Counts its ends."""

    def __init__(self) -> None:
        self.ended = 0

    def close(self) -> None:
        self.ended += 1


def admit(
    room: WaitingRoom[Conversation],
    *places: Place,
    until_ns: int = 100,
    by_client: bool = False,
    part: Callable[[], bool] = lambda: True,
) -> Conversation:
    """A conversation that waits there."""
    found = Conversation()
    room.admit(found, places, until_ns=until_ns, by_client=by_client, part=part)
    return found


def test_the_next_socket_takes_it_once() -> None:
    """At one of its places; then it waits no more."""
    room: WaitingRoom[Conversation] = WaitingRoom()
    owner, other = Owner(), Owner()
    waits = admit(room, (other, None), (owner, "a"))
    assert room.find([(owner, "b"), (Owner(), "a")], 50) is None
    assert waits is room.find([(owner, "a")], 50)
    assert waits is room.take([(owner, "b"), (owner, "a")], 50)
    assert room.take([(owner, "a")], 50) is None
    owner.over()
    room.end_all()
    assert 0 == waits.ended


def test_of_several_the_latest() -> None:
    """That closed last: it is replaced first."""
    room: WaitingRoom[Conversation] = WaitingRoom()
    place = (Owner(), "a")
    first, second = admit(room, place), admit(room, place)
    assert [second, first, None] == [room.take([place], 50) for _ in range(3)]


def test_its_time_is_up() -> None:
    """A socket that began to open in time may take it, a later one may not."""
    room: WaitingRoom[Conversation] = WaitingRoom()
    place = (Owner(), "a")
    waits = admit(room, place, until_ns=100)
    assert [waits, None] == [room.find([place], at_ns) for at_ns in (100, 101)]
    room.end_overdue(100)
    assert 0 == waits.ended
    room.end_overdue(101)
    assert (1, None) == (waits.ended, room.find([place], 50))


def test_it_ends_when_nobody_is_left_who_may_go_on() -> None:
    """One of several owners is not enough."""
    room: WaitingRoom[Conversation] = WaitingRoom()
    one, other = Owner(), Owner()
    waits = admit(room, (one, None), (other, "a"))
    one.over()
    assert (0, None) == (waits.ended, room.find([(one, None)], 50))
    assert waits is room.find([(other, "a")], 50)
    other.over()
    assert 1 == waits.ended


@pytest.mark.parametrize("parts", [True, False])
def test_nobody_may_go_on(*, parts: bool) -> None:
    """Then it does not wait, and is not told to; nor does one that cannot."""
    room: WaitingRoom[Conversation] = WaitingRoom()
    over, picky = Owner(), Owner(lambda by_client: not by_client)
    over.over()
    asked: list[bool] = []
    places = [(over, "a"), (picky, None)]
    conversation = Conversation()

    def part() -> bool:
        asked.append(True)
        return parts

    admitted = room.admit(conversation, places, until_ns=9, by_client=True, part=part)
    assert (False, []) == (admitted, asked)
    admitted = room.admit(conversation, places, until_ns=9, by_client=False, part=part)
    assert (parts, [True]) == (admitted, asked)
    assert (conversation if parts else None) is room.find([(picky, None)], 5)
    assert room.find([(over, "a")], 5) is None


def test_an_owner_that_is_over_meanwhile() -> None:
    """While the conversation prepares itself to wait: it ends at once."""
    room: WaitingRoom[Conversation] = WaitingRoom()
    owner = Owner()

    def part() -> bool:
        thread = threading.Thread(target=owner.over)
        thread.start()
        thread.join()
        return True

    assert 1 == admit(room, (owner, "a"), part=part).ended


def test_all_of_them() -> None:
    """At a flush."""
    room: WaitingRoom[Conversation] = WaitingRoom()
    waits = [admit(room, (Owner(), "a")) for _ in range(3)]
    room.forget(waits[0])
    room.end_all()
    assert [0, 1, 1] == [one.ended for one in waits]


def test_a_forked_child_has_none() -> None:
    """The block around is left there, too."""
    room: WaitingRoom[Conversation] = WaitingRoom()
    owner = Owner()
    waits = admit(room, (owner, "a"))
    room._lock.acquire()
    room.forget_all()
    owner.over()
    assert 0 == waits.ended


class Room(RuleBasedStateMachine):
    """A conversation waits, is taken, is forgotten or has ended: always one of them, once."""

    def __init__(self) -> None:
        super().__init__()
        self.room: WaitingRoom[Conversation] = WaitingRoom()
        self.owners = [Owner() for _ in range(3)]
        self.now = 0
        self.waiting: list[tuple[Conversation, set[tuple[int, int]], int]] = []
        self.gone: list[Conversation] = []
        self.over: set[int] = set()

    numbers = st.sets(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=3)

    def places(self, numbers: set[tuple[int, int]]) -> list[Place]:
        return [(self.owners[owner], route) for owner, route in sorted(numbers)]

    def leave(self, left: Callable[[set[tuple[int, int]], int], bool]) -> None:
        self.waiting = [one for one in self.waiting if not left(one[1], one[2])]

    @rule(numbers=numbers, wait=st.integers(0, 5))
    def admit(self, numbers: set[tuple[int, int]], wait: int) -> None:
        found = admit(self.room, *self.places(numbers), until_ns=self.now + wait)
        there = {place for place in numbers if place[0] not in self.over}
        if there:
            self.waiting.append((found, there, self.now + wait))

    @rule(numbers=numbers)
    def take(self, numbers: set[tuple[int, int]]) -> None:
        expected = [one for one in self.waiting if one[1] & numbers and self.now <= one[2]]
        found = self.room.take(self.places(numbers), self.now)
        assert (expected[-1][0] if expected else None) is found
        if found is not None:
            self.gone.append(found)
            self.waiting.remove(expected[-1])

    @rule(seconds=st.integers(1, 3))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def look(self) -> None:
        self.room.end_overdue(self.now)
        self.leave(lambda places, until: until < self.now)

    @precondition(lambda self: len(self.over) < 2)
    @rule(owner=st.integers(0, 2))
    def end(self, owner: int) -> None:
        self.over.add(owner)
        self.owners[owner].over()
        for _, places, _ in self.waiting:
            places -= {place for place in places if place[0] == owner}
        self.leave(lambda places, until: not places)

    @invariant()
    def each_ends_once(self) -> None:
        assert [0] * len(self.waiting) == [one[0].ended for one in self.waiting]
        assert [0] * len(self.gone) == [one.ended for one in self.gone]
        assert [one[0] for one in self.waiting] == [
            entry.conversation for entry in self.room._entries
        ]


TestRoom = Room.TestCase
