"""How frames of a dialect are told apart."""

from __future__ import annotations

import json

import pytest

from otel_realtime.core.protocol.dialects import DIALECTS, LIVE, LIVE_SIDEBAND, REALTIME, Dialect
from otel_realtime.core.protocol.lookups import lookups


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.name)
def test_its_own_audio_is_known_by_its_first_bytes(dialect: Dialect) -> None:
    """As text and as bytes, with and without spaces."""
    known = lookups(dialect)
    for kind in dialect.agent_audio:
        frame = json.dumps({"type": kind, "delta": "AAAA"})
        assert known.agent_audio.of(frame)
        assert known.agent_audio.of(frame.replace(": ", ":").encode())
        assert not known.deltas.of(frame)


def test_only_an_observer_is_told_what_the_user_says() -> None:
    """A server of Realtime conversations never sends it back."""
    frame = '{"type":"session.input_audio.append","audio":"AAAA"}'
    reflected = lookups(LIVE_SIDEBAND).reflected_audio
    assert reflected is not None
    assert reflected.of(frame)
    assert lookups(REALTIME).reflected_audio is None


def test_the_recording_gets_events_by_the_names_it_knows() -> None:
    """But no formats that are not those of the socket, and nothing that says nothing about audio."""
    started = {"type": "session.started", "session": {"id": "l1"}}
    assert {**started, "type": "session.created"} == lookups(LIVE).audio_event(started)
    assert lookups(LIVE_SIDEBAND).audio_event(started) is None
    assert lookups(LIVE).audio_event({"type": "info"}) is None
    beta = {"type": "response.audio.done"}
    assert beta is lookups(REALTIME).audio_event(beta)
