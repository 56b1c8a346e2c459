"""Whoever opens one socket after another."""

from __future__ import annotations

import pytest

from otel_realtime import diagnostics
from otel_realtime.tap.owners import Owner
from tests.support.provoked import provoked


def test_it_goes_on_until_it_is_over() -> None:
    """Unless it says itself that it may not."""
    owner = Owner()
    assert owner.goes_on(by_client=True)
    owner.over()
    assert not owner.goes_on(by_client=False)
    picky = Owner(lambda by_client: not by_client)
    assert [True, False] == [picky.goes_on(by_client=by_client) for by_client in (False, True)]


def test_who_waits_for_it_is_told_once() -> None:
    """However often it asked, and however often it is over."""
    told: list[Owner] = []
    owner = Owner()
    owner.when_over(told.append)
    owner.when_over(told.append)
    owner.over()
    owner.over()
    assert [owner] == told


def test_a_framework_of_another_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """What raises has nobody to go on."""
    monkeypatch.setattr(diagnostics, "RAISE", False)

    def unknown(by_client: bool) -> bool:
        raise AttributeError("_can_reconnect")

    assert not Owner(unknown).goes_on(by_client=False)
    provoked("owner: AttributeError")
