"""Which family of events a socket speaks, and that another one is one more row."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import otel_realtime
from otel_realtime.conversation.paths import is_realtime
from otel_realtime.core.protocol import dialects
from otel_realtime.core.protocol.dialects import (
    LIVE,
    LIVE_SIDEBAND,
    REALTIME,
    TRANSLATION,
    Dialect,
    Stream,
)
from otel_realtime.settings import Settings
from tests.support.traces import Traces, facts, samples, stretches


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/realtime", None),
        ("/v1/realtime/translations", TRANSLATION),
        ("/gateway/openai/v1/realtime/translations/", TRANSLATION),
        ("/v1/live/sessions", LIVE),
        ("/v1/live/sessions/live_1/fork", LIVE),
        ("/v1/live/sessions/live_1/attach", LIVE_SIDEBAND),
        ("/any", None),
    ],
)
def test_a_path_tells(path: str, dialect: Dialect | None) -> None:
    """Unless it is one of Realtime's, where a gateway may serve anything."""
    assert dialect is dialects.by_path(path)


def test_the_paths_of_all_dialects_are_tapped_by_default() -> None:
    """What has a dialect is seen without a setting."""
    paths = [
        glob.replace("*", "/v1", 1).replace("*", "id")
        for each in dialects.DIALECTS
        for glob in each.paths
    ]
    # A gateway that adds a slash says so in ``Settings.realtime_paths``.
    assert [] == [path for path in paths if not is_realtime(path.rstrip("/"), Settings())]


@pytest.mark.parametrize(
    ("event", "dialect"),
    [
        ({"type": "session.created", "session": {"type": "realtime"}}, REALTIME),
        ({"type": "session.created", "session": {"type": "translation"}}, TRANSLATION),
        ({"type": "session.created"}, REALTIME),
        ({"type": "session.start", "session": {}}, LIVE),
        ({"type": "session.started", "session": {}}, LIVE),
        ({"type": "session.input_audio_buffer.append"}, TRANSLATION),
        ({"type": "session.input_audio.append"}, LIVE),
        ({"type": "session.output_audio.delta", "start_ms": 1}, LIVE),
        ({"type": "session.output_transcript.delta", "elapsed_ms": 1}, TRANSLATION),
        ({"type": "session.output_audio.delta"}, None),
        ({"type": "error"}, None),
        ({"type": "session.update", "session": {"type": 7}}, None),
        ({"type": "response.created"}, REALTIME),
        ({"type": "unheard.of"}, None),
    ],
)
def test_the_first_event_tells(event: dict[str, Any], dialect: Dialect | None) -> None:
    """Or the next one, if it could be of several."""
    assert dialect is dialects.by_event(event)


def test_an_observer_s_path_names_the_call() -> None:
    """It is the session's id."""
    assert "live_1" == dialects.call_of("/v1/live/sessions/live_1/attach")
    assert dialects.call_of("/v1/live/sessions/live_1/fork") is None


@pytest.mark.parametrize(
    "kind",
    ["transport.ringing", "info", "decision.event", "session.started", "mcp_list_tools.failed"],
)
def test_families_of_every_dialect_are_known(kind: str) -> None:
    """So a socket that begins with such an event carries a conversation."""
    assert dialects.is_known({"type": kind})
    assert not dialects.is_known({"type": "chat.message"})


#: Made up: its audio and its transcripts have names that nobody else uses.
PARLEY = Dialect(
    name="parley",
    tells=frozenset({"parley.opened"}),
    families=frozenset({"parley"}),
    agent_audio=("parley.voice.chunk",),
    user_audio=("parley.microphone",),
    streams={
        "parley.words.delta": Stream(role="assistant", start="from", end="to"),
        "parley.caller.delta": Stream(role="user", start="from", end="to"),
    },
    names={"parley.opened": "session.created"},
    session_events=frozenset({"parley.opened"}),
)


def test_another_family_is_one_more_row(
    monkeypatch: pytest.MonkeyPatch, traces: Traces, tmp_path: Path
) -> None:
    """Traced and recorded, with both channels and turns, by its table alone."""
    monkeypatch.setattr(dialects, "DIALECTS", (*dialects.DIALECTS, PARLEY))
    kept = []
    settings = Settings(on_recording=lambda path, _: kept.append(samples(path)))
    sound = base64.b64encode(b"\x10\x10" * 2_400).decode()
    began_ns, ms = 1_780_000_000_000_000_000, 1_000_000
    session = {"id": "p1", "model": "parley-1"}
    rows = [
        (0, False, {"type": "parley.opened", "session": session}),
        (100, True, {"type": "parley.microphone", "audio": sound}),
        (110, False, {"type": "parley.caller.delta", "from": 0, "to": 100, "delta": "Ahoy!"}),
        (200, False, {"type": "parley.voice.chunk", "audio": sound}),
        (310, False, {"type": "parley.words.delta", "from": 200, "to": 300, "delta": "Aye."}),
        (400, False, {"type": "parley.agreed"}),
    ]  # fmt: skip
    with otel_realtime.conversation(tracer_provider=traces.provider, settings=settings) as call:
        for at_ms, is_sent, event in rows:
            report = call.sent if is_sent else call.received
            report(json.dumps(event), at_ns=began_ns + at_ms * ms)
    assert otel_realtime.flush(10)
    root = facts(traces.root)
    turns = json.loads(str(root["gen_ai.completion"]))["messages"]
    assert [("user", "Ahoy!", 0, 100), ("assistant", "Aye.", 200, 300)] == [
        (turn["role"], turn["text"], turn["start_ms"], turn["end_ms"]) for turn in turns
    ]
    assert ("parley-1", "p1") == (
        root["otel_realtime.model"],
        root["otel_realtime.openai_session_id"],
    )
    assert ["parley.agreed", "parley.opened"] == sorted(
        span.name for span in traces.spans if span is not traces.root
    )
    ((user, agent),) = kept
    assert [(0, 2_400)] == stretches(user)
    assert [2_400] == [after - first for first, after in stretches(agent)]
