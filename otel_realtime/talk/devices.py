"""Lists the sound devices of this machine with PortAudio, and chooses one.

https://python-sounddevice.readthedocs.io/en/latest/api/checking-hardware.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from otel_realtime.errors import DeviceError

Side = Literal["input", "output"]
#: Sample rate of ``audio/pcm``, the only one that the Realtime API accepts, Hz. A device that cannot be
#: opened at this rate runs at its own rate, and its audio is converted.
WIRE_RATE_HZ: Final = 24_000
NOUNS: Final[dict[Side, str]] = {"input": "microphone", "output": "speaker"}
NO_LIBRARY: Final = (
    "the PortAudio library is missing, which sounddevice plays and records with. Install it: "
    "`apt install libportaudio2` (Debian, Ubuntu), `dnf install portaudio` (Fedora), "
    "`pacman -S portaudio` (Arch), `brew install portaudio` (macOS)"
)
NO_PACKAGE: Final = (
    'sounddevice is not installed, which plays and records: pip install "otel-realtime[audio]"'
)
NO_DEVICES: Final = (
    "PortAudio finds no {noun} on this machine{others}. A server, a container or an SSH session has "
    "none: run it where the sound card is. On Linux, `aplay -l` and `arecord -l` show the cards, and "
    "the user has to be in the group audio"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device of PortAudio.

    Attributes:
        index: its number, for ``--input`` and ``--output``.
        name: its name in the system.
        host_api: the sound system that it belongs to, such as ALSA or Core Audio.
        inputs: number of channels that it can record.
        outputs: number of channels that it can play.
        rate_hz: its own sample rate, Hz.
        default_input: whether it is the default microphone.
        default_output: whether it is the default speaker.
    """

    index: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    rate_hz: int
    default_input: bool
    default_output: bool

    def channels(self, side: Side) -> int:
        """Return the number of its channels on a side."""
        return self.inputs if side == "input" else self.outputs

    def is_default(self, side: Side) -> bool:
        """Return whether it is the default of a side."""
        return self.default_input if side == "input" else self.default_output

    def to_json(self) -> dict[str, object]:
        """Return its attributes for ``--list-devices --json``."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """The format in which a device is opened: 16-bit samples with this rate and number of channels."""

    rate_hz: int
    channels: int


def load_portaudio() -> Any:
    """Import sounddevice, which loads PortAudio.

    Raises:
        DeviceError: either of them is not installed.
    """
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        if error.name not in ("sounddevice", "_sounddevice", "cffi", "_cffi_backend"):
            raise
        raise DeviceError(NO_PACKAGE) from None
    except OSError as error:  # "PortAudio library not found", or an error of the loader
        if "not found" in str(error):
            raise DeviceError(NO_LIBRARY) from None
        raise DeviceError(f"the PortAudio library cannot be loaded: {error}") from None
    return sounddevice


def list_devices(portaudio: Any) -> list[Device]:
    """Return every device of this machine, in PortAudio's order.

    Raises:
        DeviceError: PortAudio cannot list them.
    """
    try:
        host_apis, found = portaudio.query_hostapis(), portaudio.query_devices()
    except portaudio.PortAudioError as error:
        raise DeviceError(f"PortAudio cannot list the devices: {error}") from None
    default_input, default_output = portaudio.default.device
    return [
        Device(
            index=index,
            name=str(entry["name"]),
            host_api=str(host_apis[entry["hostapi"]]["name"]),
            inputs=int(entry["max_input_channels"]),
            outputs=int(entry["max_output_channels"]),
            rate_hz=round(entry["default_samplerate"]),
            default_input=index == default_input,
            default_output=index == default_output,
        )
        for index, entry in enumerate(found)
    ]


def choose(devices: Sequence[Device], side: Side, wanted: str | None) -> Device:
    """Return the device that the user asked for, or the default one.

    Args:
        devices: the devices of this machine.
        side: whether it has to record or to play.
        wanted: a number, or a part of a name; ``None``: the default.

    Raises:
        DeviceError: there is no such device, or the name matches several; the message lists them.
    """
    usable = [device for device in devices if device.channels(side)]
    noun = NOUNS[side]
    if not usable:
        others = f", among {_count(len(devices))}" if devices else ""
        raise DeviceError(NO_DEVICES.format(noun=noun, others=others))
    if wanted is None:
        default = next((device for device in usable if device.is_default(side)), None)
        return default or usable[0]
    if wanted.isascii() and wanted.isdecimal():
        return _by_number(devices, side, int(wanted))
    return _by_name(usable, side, wanted)


def _by_number(devices: Sequence[Device], side: Side, number: int) -> Device:
    device = next((device for device in devices if device.index == number), None)
    problem = "there is no such device"
    if device is not None:
        if device.channels(side):
            return device
        problem = f"{device.name!r} cannot {'record' if side == 'input' else 'play'}"
    raise DeviceError(f"--{side} {number}: {problem}; {_choices(devices, side)}")


def _by_name(usable: Sequence[Device], side: Side, wanted: str) -> Device:
    tests: tuple[Callable[[str], bool], ...] = (
        lambda name: name == wanted,
        lambda name: name.casefold() == wanted.casefold(),
        lambda name: wanted.casefold() in name.casefold(),
    )
    for test in tests:
        found = [device for device in usable if test(device.name)]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(f"{device.index} {device.name!r}" for device in found)
            raise DeviceError(
                f"--{side} {wanted!r} stands for {len(found)} devices: {listed}; give the number"
            )
    raise DeviceError(
        f"--{side} {wanted!r}: no {NOUNS[side]} has that in its name; {_choices(usable, side)}"
    )


def _choices(devices: Sequence[Device], side: Side) -> str:
    listed = ", ".join(
        f"{device.index} {device.name!r}" for device in devices if device.channels(side)
    )
    return f"there are {listed}"


def _count(number: int) -> str:
    return "1 other device" if number == 1 else f"{number} other devices"


def choose_format(portaudio: Any, device: Device, side: Side) -> Format:
    """Return the format in which to open a device: mono at the API's rate if possible.

    Otherwise it is stereo at that rate, or mono or stereo at the device's own rate.

    Raises:
        DeviceError: the device supports none of these formats.
    """
    check = getattr(portaudio, f"check_{side}_settings")
    refusal: object = None
    for rate_hz in dict.fromkeys((WIRE_RATE_HZ, device.rate_hz)):
        for channels in sorted({1, min(2, device.channels(side))}):
            try:
                check(device=device.index, channels=channels, dtype="int16", samplerate=rate_hz)
            except (portaudio.PortAudioError, ValueError) as error:
                refusal = error
                continue
            return Format(rate_hz=rate_hz, channels=channels)
    raise DeviceError(cannot_open(device, side, refusal))


def cannot_open(device: Device, side: Side, error: object) -> str:
    """Return the error message for a device that PortAudio cannot open."""
    return (
        f"cannot open the {NOUNS[side]} {device.index} {device.name!r}: {error}. Is it plugged in, "
        f"and does no other program hold it? Choose another one with --{side}; --list-devices shows "
        "them"
    )


def table(devices: Sequence[Device]) -> list[str]:
    """Return one line for each device; defaults are marked."""
    rows = []
    for device in devices:
        marks = [side for side in NOUNS if device.is_default(side)]
        default = f"  default {' and '.join(marks)}" if marks else ""
        channels = f"{device.inputs} in, {device.outputs} out"
        rows.append(
            f"{device.index:>3}  {device.name}, {device.host_api} ({channels}, "
            f"{device.rate_hz} Hz){default}"
        )
    return rows
