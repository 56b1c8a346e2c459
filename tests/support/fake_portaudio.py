"""``sounddevice`` with devices that a test makes up; its streams are run by the test, block by block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt


class PortAudioError(Exception):
    """What the real module raises."""


class CallbackAbort(Exception):
    """What a callback raises to end its stream."""


def entry(name: str, inputs: int = 0, outputs: int = 0, rate_hz: float = 48_000) -> dict[str, Any]:
    """A device as ``query_devices`` returns it."""
    return {
        "name": name,
        "hostapi": 0,
        "max_input_channels": inputs,
        "max_output_channels": outputs,
        "default_samplerate": rate_hz,
    }


class FakeStream:
    """One stream: it remembers how it was opened and asks for a block when the test says so."""

    def __init__(self, *, latency: object, **options: Any) -> None:
        self.options = options
        self.latency = 0.02
        self.started = self.closed = False

    def start(self) -> None:
        """Begin; the test calls the callback."""
        self.started = True

    def close(self) -> None:
        """End."""
        self.closed = True

    def play(self, frames: int, *, underflow: bool = False) -> npt.NDArray[np.int16]:
        """Ask for a block, in a buffer that holds what an earlier one left there."""
        block = np.full((frames, self.options["channels"]), 77, np.int16)
        self.options["callback"](block, frames, None, SimpleNamespace(output_underflow=underflow))
        return block

    def record(self, samples: npt.NDArray[np.int16], *, overflow: bool = False) -> None:
        """Deliver a block, in a buffer that is overwritten as soon as the callback returns."""
        block = samples.copy()
        self.options["callback"](block, len(block), None, SimpleNamespace(input_overflow=overflow))
        block[:] = 77


@dataclass
class FakePortAudio:
    """The module.

    Attributes:
        devices: what ``query_devices`` returns.
        defaults: numbers of the default microphone and speaker, -1 for none.
        refuses: says why a device cannot be opened so; ``None``: it can.
        streams: every stream that was opened.
    """

    devices: list[dict[str, Any]] = field(default_factory=list)
    defaults: tuple[int, int] = (-1, -1)
    refuses: Callable[[dict[str, Any]], str | None] = lambda _: None
    streams: list[FakeStream] = field(default_factory=list)
    PortAudioError = PortAudioError
    CallbackAbort = CallbackAbort

    @property
    def default(self) -> Any:
        """The defaults."""
        return SimpleNamespace(device=self.defaults)

    def query_devices(self) -> list[dict[str, Any]]:
        """Every device."""
        return self.devices

    def query_hostapis(self) -> list[dict[str, Any]]:
        """One sound system."""
        return [{"name": "Fake"}]

    def check_input_settings(self, **settings: Any) -> None:
        """Raise if it cannot be opened so."""
        refusal = self.refuses(settings)
        if refusal is not None:
            raise PortAudioError(refusal)

    check_output_settings = check_input_settings

    def InputStream(self, **options: Any) -> FakeStream:
        """Open a stream."""
        self.check_input_settings(**options)
        self.streams.append(FakeStream(**options))
        return self.streams[-1]

    OutputStream = InputStream
