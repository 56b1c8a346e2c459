"""``otel-realtime talk``."""

from __future__ import annotations

from pathlib import Path

import click

from otel_realtime.cli import options
from otel_realtime.cli.help import Command


@click.command(
    "talk",
    cls=Command,
    short_help="Talk to a model by microphone and speaker.",
    epilog="""
  otel-realtime talk  with OPENAI_API_KEY to a model, without to a script
  otel-realtime talk --list-devices  microphones and speakers
  otel-realtime talk --input usb --output 3 --voice cedar  by a part of the name, by number
  otel-realtime talk --half-duplex --vad semantic  without a headset
  otel-realtime talk --push-to-talk  space to speak, space to send
  otel-realtime talk --url wss://my.host/v1 --seconds 60 --json  for a script
""",
)
@click.option("--list-devices", is_flag=True, help="List microphones and speakers, and end.")
@click.option(
    "--input",
    "input_device",
    metavar="DEVICE",
    help="The microphone: its number, or a part of its name (default: the system's).",
)
@click.option(
    "--output",
    "output_device",
    metavar="DEVICE",
    help="The speaker: its number, or a part of its name (default: the system's).",
)
@click.option(
    "--url",
    metavar="URL",
    help="Base URL of the Realtime API, such as wss://HOST/v1 (default: OpenAI with OPENAI_API_KEY, "
    "Azure with AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT, else the scripted server).",
)
@click.option(
    "--scripted", is_flag=True, help="Talk to the scripted server, whatever keys there are."
)
@click.option("--model", help="The model, or Azure's deployment (default: gpt-realtime).")
@click.option("--voice", help="The model's voice (default: the service's).")
@click.option("--instructions", metavar="TEXT", help="What the model is told to be.")
@click.option(
    "--vad",
    type=click.Choice(("server", "semantic", "none")),
    help="How the end of a turn is found: by silence, by meaning, or by your key, as with "
    "--push-to-talk (default: server).",
)
@click.option("--push-to-talk", is_flag=True, help="Speak between two presses of the space bar.")
@click.option(
    "--half-duplex",
    is_flag=True,
    help="Mute the microphone while the agent speaks: against echo, without a headset.",
)
@click.option(
    "--seconds", type=options.seconds, metavar="SECONDS", help="End the call after this time."
)
@click.option(
    "--out",
    type=options.folder,
    metavar="DIR",
    help="Where to keep the recording (default: OTEL_REALTIME_RECORDINGS_DIR, else recordings).",
)
@click.option(
    "--local", is_flag=True, help="Keep the trace on this machine, whatever the environment says."
)
@options.no_browser
@options.as_json
def command(
    *,
    list_devices: bool,
    input_device: str | None,
    output_device: str | None,
    url: str | None,
    scripted: bool,
    model: str | None,
    voice: str | None,
    instructions: str | None,
    vad: str | None,
    push_to_talk: bool,
    half_duplex: bool,
    seconds: float | None,
    out: Path | None,
    local: bool,
    no_browser: bool,
    as_json: bool,
) -> int:
    """Hold a conversation with a Realtime model by microphone and speaker, traced and recorded.

    The trace goes where LANGSMITH_* and OTEL_EXPORTER_OTLP_* say. Without them it stays on this
    machine, and a page shows it. The recording is kept as a WAV: you on the left, the agent on the
    right. Interrupt the agent as you would a person. The model may ask for the time of day, as an
    example of a tool.

    Ctrl-C ends the call. Exits with 0 then, with 1 if the call broke off or was not delivered, with 2
    if a device, the service or an option cannot be used.
    """
    from otel_realtime.talk.command import run, show_devices

    if list_devices:
        return show_devices(as_json=as_json)
    return run(
        input_device=input_device,
        output_device=output_device,
        url=url,
        scripted=scripted,
        model=model,
        voice=voice,
        instructions=instructions,
        vad=vad,
        push_to_talk=push_to_talk,
        half_duplex=half_duplex,
        seconds=seconds,
        out=out,
        local=local,
        browser=not no_browser,
        as_json=as_json,
    )
