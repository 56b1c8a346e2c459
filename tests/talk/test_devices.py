"""Which devices there are, which one is meant, how it is opened, and what is said if it cannot be."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from otel_realtime.errors import DeviceError
from otel_realtime.talk.devices import (
    Device,
    Format,
    choose,
    choose_format,
    list_devices,
    table,
)
from tests.support.fake_portaudio import FakePortAudio, PortAudioError, entry
from tests.support.sound_card import needs_portaudio

DEVICES = [
    entry("Built-in Microphone", inputs=1, rate_hz=44_100),
    entry("Built-in Output", outputs=2),
    entry("USB Headset", inputs=1, outputs=2),
    entry("USB Headset Pro", inputs=1, outputs=2),
]


def found(**changes: Any) -> list[Device]:
    """The devices of a machine with a default of each kind."""
    return list_devices(FakePortAudio(**{"devices": DEVICES, "defaults": (0, 1), **changes}))


def test_the_default_is_taken_unless_another_one_is_asked_for() -> None:
    """Of each side its own; without a default, the first that can."""
    assert "Built-in Microphone" == choose(found(), "input", None).name
    assert "Built-in Output" == choose(found(), "output", None).name
    assert "Built-in Output" == choose(found(defaults=(-1, -1)), "output", None).name


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("2", "USB Headset"),
        ("USB Headset", "USB Headset"),  # the whole name, although it begins another one
        ("usb headset", "USB Headset"),
        ("pro", "USB Headset Pro"),
        ("built", "Built-in Microphone"),  # the only one with an input
    ],
)
def test_a_device_is_chosen_by_number_or_by_a_part_of_its_name(wanted: str, name: str) -> None:
    """Case does not matter."""
    assert name == choose(found(), "input", wanted).name


@pytest.mark.parametrize(
    ("side", "wanted", "message"),
    [
        ("input", "7", "--input 7: there is no such device; there are 0 'Built-in Microphone', 2"),
        ("input", "1", "--input 1: 'Built-in Output' cannot record; there are 0"),
        ("output", "0", "--output 0: 'Built-in Microphone' cannot play; there are 1"),
        ("output", "kitchen", "--output 'kitchen': no speaker has that in its name; there are 1"),
        (
            "input",
            "usb",
            "--input 'usb' stands for 2 devices: 2 'USB Headset', 3 'USB Headset Pro'",
        ),
    ],
)
def test_what_is_not_there_is_named_with_what_there_is(
    side: Any, wanted: str, message: str
) -> None:
    """So that the next try is right."""
    with pytest.raises(DeviceError) as raised:
        choose(found(), side, wanted)
    assert str(raised.value).startswith(message)


def test_a_machine_without_a_microphone() -> None:
    """What else it has is counted."""
    with pytest.raises(
        DeviceError, match="finds no microphone on this machine, among 1 other device"
    ):
        choose(found(devices=DEVICES[1:2], defaults=(-1, 0)), "input", None)
    with pytest.raises(DeviceError, match="finds no speaker on this machine"):
        choose([], "output", "2")


def test_the_table_has_numbers_and_defaults() -> None:
    """One line for each device."""
    assert (
        "  0  Built-in Microphone, Fake (1 in, 0 out, 44100 Hz)  default input" == table(found())[0]
    )
    assert "  2  USB Headset, Fake (1 in, 2 out, 48000 Hz)" == table(found())[2]


@pytest.mark.parametrize(
    ("can", "expected"),
    [
        (lambda rate, channels: True, Format(rate_hz=24_000, channels=1)),
        (lambda rate, channels: channels == 2, Format(rate_hz=24_000, channels=2)),
        (lambda rate, channels: rate == 48_000, Format(rate_hz=48_000, channels=1)),
        (
            lambda rate, channels: (rate, channels) == (48_000, 2),
            Format(rate_hz=48_000, channels=2),
        ),
    ],
)
def test_a_device_is_opened_as_near_to_the_api_as_it_can(can: Any, expected: Format) -> None:
    """24 kHz mono, else with a second channel, else at the device's own rate."""
    fake = FakePortAudio(
        devices=DEVICES,
        refuses=lambda wanted: (
            None if can(wanted["samplerate"], wanted["channels"]) else "Invalid sample rate"
        ),
    )
    assert expected == choose_format(fake, list_devices(fake)[2], "output")


def test_a_device_that_cannot_be_opened() -> None:
    """PortAudio's own words, and what may help."""
    fake = FakePortAudio(
        devices=DEVICES, refuses=lambda _: "Device unavailable [PaErrorCode -9985]"
    )
    with pytest.raises(DeviceError) as raised:
        choose_format(fake, list_devices(fake)[0], "input")
    assert str(raised.value).startswith(
        "cannot open the microphone 0 'Built-in Microphone': Device unavailable [PaErrorCode -9985]. "
        "Is it plugged in, and does no other program hold it? Choose another one with --input"
    )


def test_a_system_that_cannot_be_asked() -> None:
    """It is an error of the devices, too."""

    class Broken(FakePortAudio):
        def query_devices(self) -> list[dict[str, Any]]:
            raise PortAudioError("Error querying device -1")

    with pytest.raises(DeviceError, match="PortAudio cannot list the devices: Error querying"):
        list_devices(Broken())


MISSING = {
    "the library": (
        "import ctypes.util; ctypes.util.find_library = lambda name: None",
        "the PortAudio library is missing, which sounddevice plays and records with. Install it",
    ),
    "the package": (
        "import sys; sys.modules['sounddevice'] = None",
        'sounddevice is not installed, which plays and records: pip install "otel-realtime[audio]"',
    ),
}


@pytest.mark.parametrize("what", MISSING)
def test_a_machine_without_portaudio(what: str) -> None:
    """One line says what to install; exit code 2."""
    if what == "the library":
        needs_portaudio()  # the package, at least
    hide, message = MISSING[what]
    code = f"{hide}; from otel_realtime.cli import main; raise SystemExit(main(['talk']))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"otel-realtime: {message}"), done.stderr
    assert 1 == len(done.stderr.splitlines())
