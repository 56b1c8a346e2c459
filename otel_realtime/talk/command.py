"""``otel-realtime talk``: sets up devices, service and destination, holds the call, prints a summary."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
import uuid
import webbrowser
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final

from openai import AsyncOpenAI, OpenAIError
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedOK,
    InvalidHandshake,
    InvalidStatus,
    WebSocketException,
)

import otel_realtime
from otel_realtime import console
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.errors import ConfigError, DeviceError
from otel_realtime.settings import Settings
from otel_realtime.talk.app import INSTRUCTIONS, Options, Sound, VoiceCall
from otel_realtime.talk.destination import Destination, destination
from otel_realtime.talk.devices import (
    NO_DEVICES,
    choose,
    choose_format,
    list_devices,
    load_portaudio,
    table,
)
from otel_realtime.talk.keys import PushToTalk
from otel_realtime.talk.result import Result, page_of, report, summary
from otel_realtime.talk.screen import Screen, screen_for
from otel_realtime.talk.script import talk_scenario
from otel_realtime.talk.service import MODEL, Service, choose_service

FLUSH_TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 15.0
HEADSET: Final = (
    "Use a headset, or the agent hears itself and interrupts itself; without one: --half-duplex."
)


def show_devices(*, as_json: bool) -> int:
    """Print the devices of this machine.

    Returns:
        The exit code: 0, or 2 if there is none.

    Raises:
        DeviceError: PortAudio is missing, or, without ``as_json``, finds no device.
    """
    devices = list_devices(load_portaudio())
    if as_json:
        console.say_json([device.to_json() for device in devices])
        return 0 if devices else 2
    if not devices:
        raise DeviceError(NO_DEVICES.format(noun="sound device", others=""))
    for line in table(devices):
        console.say(line)
    return 0


def run(
    *,
    input_device: str | None = None,
    output_device: str | None = None,
    url: str | None = None,
    scripted: bool = False,
    model: str | None = None,
    voice: str | None = None,
    instructions: str | None = None,
    vad: str | None = None,
    push_to_talk: bool = False,
    half_duplex: bool = False,
    seconds: float | None = None,
    out: Path | None = None,
    local: bool = False,
    browser: bool = True,
    as_json: bool = False,
) -> int:
    """Hold a conversation through microphone and speaker.

    It sets the global tracer provider, so it can run only once per process.

    Args:
        input_device: number or part of the name of the microphone; ``None``: the default one.
        output_device: number or part of the name of the speaker; ``None``: the default one.
        url: base URL of the Realtime API; ``None``: chosen by the environment's keys.
        scripted: talk to the scripted server, even if there are keys.
        model: the model, or Azure's deployment.
        voice: the model's voice.
        instructions: the instructions for the model.
        vad: how the end of a turn is detected: ``server``, ``semantic`` or ``none``.
        push_to_talk: the user ends turns with a key.
        half_duplex: mute the microphone while the speaker plays.
        seconds: end the call after this time, in seconds.
        out: where the recording is kept.
        local: keep the trace on this machine, regardless of the environment.
        browser: open the page in a browser at the end, if the output is a terminal.
        as_json: print the summary to standard output as JSON, and the rest to standard error.

    Returns:
        The exit code: 0 if the call ended normally and everything was delivered, otherwise 1.

    Raises:
        OtelRealtimeError: a device, the service or an option cannot be used.
    """
    if push_to_talk and vad not in (None, "none"):
        raise ConfigError(
            f"--push-to-talk and --vad {vad} contradict each other: with a key, you say when a turn "
            "ends, so leave --vad out"
        )
    options = Options(
        voice=voice,
        instructions=instructions or INSTRUCTIONS,
        vad="none" if push_to_talk else vad or "server",
        half_duplex=half_duplex,
    )
    service = choose_service(os.environ, url=url, scripted=scripted)
    sound = open_sound(input_device, output_device)
    with ExitStack() as stack:
        where = stack.enter_context(destination(out=out, local=local))
        if service.scripted:
            server = stack.enter_context(ScriptedServer(talk_scenario(), keep=False))
            service = replace(service, url=server.url)
        screen = screen_for(as_json=as_json, help_text=_help(options))
        _introduce(screen, service, sound, options, where)
        result = Result()
        otel_realtime.configure()
        otel_realtime.instrument(settings=Settings(on_recording=result.on_recording))
        try:
            asyncio.run(_hold(result, service, model or MODEL, sound, screen, options, seconds))
            screen.line("note", "delivering the trace and the recording; Ctrl-C gives up")
        finally:  # a call that was refused also has a trace
            result.delivered = otel_realtime.flush(FLUSH_TIMEOUT_S)
        served = browser and not as_json and console.is_terminal()
        if as_json:
            console.say_json(summary(result, where, sound))
        else:
            for label, text in report(result, where, served=served):
                console.say(f"{label:<10} {text}".rstrip())
        page = page_of(result, where, served=served)
        if page is not None and served:
            _serve(page)
    return 0 if result.delivered and not result.problem else 1


def open_sound(input_device: str | None, output_device: str | None) -> Sound:
    """Return the devices that the user chose, each with a format that it supports.

    Raises:
        DeviceError: a device cannot be used.
    """
    portaudio = load_portaudio()
    devices = list_devices(portaudio)
    microphone = choose(devices, "input", input_device)
    speaker = choose(devices, "output", output_device)
    return Sound(
        portaudio=portaudio,
        microphone=microphone,
        microphone_format=choose_format(portaudio, microphone, "input"),
        speaker=speaker,
        speaker_format=choose_format(portaudio, speaker, "output"),
    )


def _help(options: Options) -> str:
    if options.vad == "none":
        return "space: speak, and space again: send   q or Ctrl-C: end the call"
    if options.half_duplex:
        return "speak when the agent is silent   Ctrl-C: end the call"
    return "speak, also to interrupt   Ctrl-C: end the call"


def _introduce(
    screen: Screen, service: Service, sound: Sound, options: Options, where: Destination
) -> None:
    for text in (
        f"microphone {sound.microphone.name}, speaker {sound.speaker.name}",
        f"calling {service.name}; the trace goes to {where.name}",
        *where.notes,
        _help(options),
    ):
        screen.line("note", text)
    if service.scripted:
        screen.line(
            "note",
            "It answers from a script and understands no words. For a model: set OPENAI_API_KEY, or "
            "AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT.",
        )
    if options.vad != "none" and not options.half_duplex:
        screen.line("note", HEADSET)


# --- the call ------------------------------------------------------------------------------------


async def _hold(
    result: Result,
    service: Service,
    model: str,
    sound: Sound,
    screen: Screen,
    options: Options,
    seconds: float | None,
) -> None:
    """Hold the call until it ends, and note how it ended.

    Raises:
        OtelRealtimeError: the call could not begin.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    keys = PushToTalk(stop.set) if options.vad == "none" else None
    started_s = time.monotonic()
    try:
        with screen, keys.listening() if keys is not None else nullcontext():
            calling = asyncio.ensure_future(
                _call(result, service, model, sound, screen, options, keys)
            )
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait(
                {calling, stopping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            result.ended_by = "user" if stop.is_set() else "" if calling.done() else "seconds"
            stopping.cancel()
            calling.cancel()
            await _ended(result, calling)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        result.duration_s = time.monotonic() - started_s


async def _call(
    result: Result,
    service: Service,
    model: str,
    sound: Sound,
    screen: Screen,
    options: Options,
    keys: PushToTalk | None,
) -> None:
    async with AsyncOpenAI(api_key=service.key, websocket_base_url=service.url) as client:
        if not hasattr(client, "realtime"):
            raise ConfigError(
                "this openai package has no Realtime client for today's API: "
                'pip install --upgrade "otel-realtime[audio]"'
            )
        manager = client.realtime.connect(model=model, extra_headers=dict(service.headers))
        try:
            connection = await asyncio.wait_for(manager.enter(), CONNECT_TIMEOUT_S)
        except (OSError, asyncio.TimeoutError, WebSocketException, OpenAIError) as error:
            raise ConfigError(_unreachable(service, error)) from error
        thread_id = f"talk-{uuid.uuid4()}"
        try:
            with otel_realtime.conversation(
                connection, thread_id=thread_id, tags=["talk"]
            ) as conversation:
                result.conversation = conversation
                call = VoiceCall(connection, conversation, sound, screen, options, keys)
                result.call, result.facts = call, call.facts
                await call.run()
        finally:
            await connection.close()


async def _ended(result: Result, calling: asyncio.Future[None]) -> None:
    """Wait for the end of the call, and note what ended it, unless ``ended_by`` is already set."""
    try:
        await calling
        result.ended_by = result.ended_by or "server"
    except asyncio.CancelledError:
        pass
    except DeviceError as error:
        if result.call is None or not result.call.speaker.stream.blocks:
            raise  # the call never began
        result.ended_by, result.problem = "device", str(error)
    except ConnectionClosedOK:  # the microphone's task noticed the close first
        result.ended_by = result.ended_by or "server"
    except ConnectionClosed as error:
        close = error.rcvd
        why = f"code {close.code} {close.reason}".strip() if close is not None else "without a word"
        result.ended_by, result.problem = "connection", f"the connection was closed: {why}"


def _unreachable(service: Service, error: Exception) -> str:
    """Return why the handshake failed, and what to do about it."""
    what = f"{service.name} ({service.url}/realtime)"
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        fixes = {
            401: f"the key is wrong: check {service.key_variable or 'OPENAI_API_KEY'}",
            403: "the key may not use it: check the key's project and permissions",
            404: "there is no Realtime API, or no such model: check --url and --model",
            429: "too many calls, or no credit left",
        }
        return f"{what} refused the call with HTTP {status}: {fixes.get(status, 'check --url')}"
    if isinstance(error, asyncio.TimeoutError):
        return (
            f"{what} did not answer within {CONNECT_TIMEOUT_S:.0f} s: check --url and the network"
        )
    if isinstance(error, InvalidHandshake):
        return f"{what} does not speak WebSocket ({error}): check --url"
    return f"{what} cannot be reached ({error}): check --url and the network"


def _serve(page: str) -> None:
    if webbrowser.open(page):
        console.say("Serving the page. Press Ctrl-C to stop.")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            console.say()
