"""Where a user's item lies in the appended audio: by the VAD, by a commit, or by its neighbours."""

from __future__ import annotations

from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.core.audio.spoken import SpokenItems

S = NS_PER_S


def test_the_vad_says_where() -> None:
    """From the first start to the last stop."""
    items = SpokenItems()
    items.started("u", 2 * S)
    items.started("u", 3 * S)
    assert (2 * S, 9 * S) == items.of("u", 9 * S)  # it goes on
    items.stopped("u", 4 * S)
    items.named("u", 6 * S)
    assert (2 * S, 4 * S) == items.of("u", 9 * S)


def test_a_part_counts_from_its_beginning() -> None:
    """Milliseconds of the item's audio, either end open."""
    items = SpokenItems()
    items.started("u", 2 * S)
    items.stopped("u", 4 * S)
    assert (2 * S + S // 2, 3 * S) == items.of("u", 9 * S, 500, 1_000)
    assert (2 * S + S // 2, 4 * S) == items.of("u", 9 * S, 500)
    assert (2 * S, 3 * S) == items.of("u", 9 * S, None, 1_000)
    assert (3 * S, 3 * S) == items.of("u", 9 * S, 1_000, 500)  # nonsense is empty


def test_without_a_beginning_it_begins_where_the_one_before_ends() -> None:
    """A server that only commits."""
    items = SpokenItems()
    items.named("u1", 3 * S)
    items.named("u2", 5 * S)
    items.named("u2", 8 * S)
    assert [(0, 3 * S), (3 * S, 5 * S)] == [items.of("u1", 9 * S), items.of("u2", 9 * S)]


def test_an_item_that_goes_on_ends_with_what_was_appended() -> None:
    """Its text has begun, its end is not known."""
    items = SpokenItems()
    items.named("u1", 3 * S)
    items.named("u2", None)
    assert (3 * S, 9 * S) == items.of("u2", 9 * S)
    items.named("u2", 5 * S)
    assert (3 * S, 5 * S) == items.of("u2", 9 * S)


def test_what_nobody_named_is_nowhere() -> None:
    """No item, no place."""
    assert SpokenItems().of("u", S) is None
