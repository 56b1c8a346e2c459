"""What the call does with events that a whole call on a sound card does not show."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from otel_realtime.errors import ConfigError
from otel_realtime.talk import app as module
from otel_realtime.talk.app import SESSION_EVENT, Options, Sound, VoiceCall, counted
from otel_realtime.talk.devices import Format, list_devices
from otel_realtime.talk.keys import PushToTalk
from otel_realtime.talk.screen import Meter
from tests.support.fake_portaudio import FakePortAudio, entry
from tests.support.talking import tone

SERVER_VAD = Options(voice=None, instructions="Be brief.", vad="server", half_duplex=False)


class Sent:
    """A connection that remembers what is sent: ``conversation.item.delete`` and its arguments."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return _Path(self, name)


class _Path:
    def __init__(self, sent: Sent, path: str) -> None:
        self._sent, self._path = sent, path

    def __getattr__(self, name: str) -> _Path:
        return _Path(self._sent, f"{self._path}.{name}")

    async def __call__(self, **arguments: Any) -> None:
        self._sent.events.append((self._path, arguments))


class Lines:
    """A screen that remembers its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def line(self, who: str, text: str) -> None:
        """Remember it."""
        self.lines.append((who, text))

    def words(self, who: str, text: str) -> None:
        """Forget them."""

    def meters(self, *meters: Meter) -> None:
        """Forget them."""


class Call:
    """A call on fake devices, not connected to anything."""

    def __init__(self, options: Options = SERVER_VAD, keys: PushToTalk | None = None) -> None:
        fake = FakePortAudio(devices=[entry("Headset", inputs=1, outputs=1)])
        (device,) = list_devices(fake)
        mono = Format(rate_hz=24_000, channels=1)
        sound = Sound(
            portaudio=fake,
            microphone=device,
            microphone_format=mono,
            speaker=device,
            speaker_format=mono,
        )
        self.fake, self.sent, self.screen = fake, Sent(), Lines()
        nobody: Any = SimpleNamespace(
            record_agent_audio=lambda *_, **__: None, record_user_audio=lambda *_, **__: None
        )
        self.call = VoiceCall(self.sent, nobody, sound, self.screen, options, keys)


def event(kind: str, **fields: Any) -> Any:
    """An event of the server."""
    return SimpleNamespace(type=kind, **fields)


def failure(message: str, event_id: str | None = None) -> Any:
    """An ``error`` event."""
    return event("error", error=SimpleNamespace(message=message, event_id=event_id))


def test_a_refused_session_ends_the_call() -> None:
    """With the server's words: a voice that it has not, for example. Other errors are shown."""

    async def refused() -> Call:
        call = Call()
        await call.call.on_error(failure("no response to cancel"))
        with pytest.raises(ConfigError, match="refuses the session: Invalid value: 'loud'"):
            await call.call.on_error(failure("Invalid value: 'loud'", SESSION_EVENT))
        return call

    call = asyncio.run(refused())
    assert [("error", "no response to cancel")] == call.screen.lines
    assert ["no response to cancel"] == call.call.facts.errors


def test_an_item_of_which_nothing_was_heard_is_deleted() -> None:
    """The API does not truncate to 0 ms."""

    async def cut() -> Call:
        call = Call()
        with call.call.speaker.stream:
            call.call.speaker.play("item_1", 0, tone(100))
            call.call.speaker.play("item_2", 0, tone(100))
            call.fake.streams[0].play(480)
            await call.call.on_speech_started(event("input_audio_buffer.speech_started"))
        return call

    assert [
        (
            "conversation.item.truncate",
            {"item_id": "item_1", "content_index": 0, "audio_end_ms": 20},
        ),
        ("conversation.item.delete", {"item_id": "item_2"}),
    ] == asyncio.run(cut()).sent.events


@pytest.mark.parametrize("keys", [True, False])
def test_only_with_push_to_talk_the_app_cancels(keys: bool) -> None:
    """A server that detects speech cancels by itself, and answers a second one with an error."""

    async def interrupted() -> list[str]:
        call = Call(keys=PushToTalk(lambda: None) if keys else None)
        await call.call.on_response_created(event("response.created"))
        await call.call.interrupt()
        return [name for name, _ in call.sent.events]

    assert (["response.cancel"] if keys else []) == asyncio.run(interrupted())


def test_a_failed_response_is_shown() -> None:
    """With its reason, as without one the agent would just be silent."""
    details = SimpleNamespace(error=SimpleNamespace(message="no credit left"))
    response = SimpleNamespace(status="failed", status_details=details, output=[])

    async def failed() -> Call:
        call = Call()
        await call.call.on_response_done(event("response.done", response=response))
        return call

    assert [("error", "the response failed: no credit left")] == asyncio.run(failed()).screen.lines


def test_a_microphone_of_zeros_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: macOS delivers zeros to a terminal that may not hear."""
    monkeypatch.setattr(module, "SILENT_ADVICE_S", -1.0)

    async def watched() -> Call:
        call = Call()
        watching = asyncio.ensure_future(call.call.watch())
        await asyncio.sleep(0.3)
        watching.cancel()
        return call

    lines = asyncio.run(watched()).screen.lines
    assert [("note", module.SILENT_ADVICE)] == lines


@pytest.mark.parametrize(
    ("vad", "expected"),
    [("server", {"type": "server_vad"}), ("semantic", {"type": "semantic_vad"}), ("none", None)],
)
def test_the_session_says_who_ends_a_turn(vad: str, expected: object) -> None:
    """And the voice, if one was asked for."""
    session = Options(voice="cedar", instructions="Hi", vad=vad, half_duplex=False).session()
    assert expected == session["audio"]["input"]["turn_detection"]
    assert {"voice": "cedar"} == session["audio"]["output"]
    assert "output" not in SERVER_VAD.session()["audio"]


def test_counts_are_read_aloud() -> None:
    """None is nothing."""
    assert ["", "1 overrun", "2 overruns"] == [counted(number, "overrun") for number in range(3)]
