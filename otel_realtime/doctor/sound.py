"""Checks PortAudio: whether a microphone and a speaker can be used here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from otel_realtime.doctor.children import ChildError, run_child
from otel_realtime.doctor.model import Result, Surroundings

#: Runs in a separate process, because PortAudio queries every sound system and ALSA writes to stderr.
_CODE: Final = """
import json
try:
    import sounddevice
except OSError as error:
    print(json.dumps({"error": str(error)}))
else:
    devices = list(sounddevice.query_devices())
    default = list(sounddevice.default.device)
    print(json.dumps({
        "version": sounddevice.get_portaudio_version()[1].partition(",")[0],
        "inputs": [d["name"] for d in devices if d["max_input_channels"] > 0],
        "outputs": [d["name"] for d in devices if d["max_output_channels"] > 0],
        "default": [d["name"] if 0 <= i < len(devices) else None
                    for i in default for d in [devices[i] if 0 <= i < len(devices) else {}]],
    }))
"""
_PULSE: Final = "pulse"
_TITLE: Final = "PortAudio"
_ONLY_TALK: Final = "only `otel-realtime talk` needs it"


def look(here: Surroundings) -> Iterator[Result]:
    """List the devices."""
    if find_spec("sounddevice") is None:
        yield _result("info", "sounddevice is not installed", 'pip install "otel-realtime[audio]"')
        return
    with tempfile.TemporaryDirectory(prefix="otel-realtime-doctor-") as folder:
        try:
            found = run_child(_CODE, timeout_s=here.timeout_s, env=_apart(Path(folder)))
        except ChildError as error:
            seen = f"cannot be asked for its devices: {error}"
            yield _result("warn", seen, "check the sound system")
            return
    yield _judged(found)


def _apart(folder: Path) -> dict[str, str]:
    """Return variables that make PulseAudio's client create its files in a temporary folder.

    The client creates a cookie, a runtime folder and a link to it if they are missing. It still finds
    the user's existing files: https://www.freedesktop.org/software/pulseaudio/doxygen/
    """
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    _link_all(config, folder, but=_PULSE)
    (folder / _PULSE).mkdir()
    _link_all(config / _PULSE, folder / _PULSE)
    found = {"XDG_CONFIG_HOME": str(folder), "TMPDIR": str(folder)}
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and not os.path.isdir(os.path.join(runtime, _PULSE)):
        found["PULSE_RUNTIME_PATH"] = str(folder)
    return found


def _link_all(source: Path, target: Path, but: str = "") -> None:
    """Create links in a folder to all entries of another one; links are copied."""
    try:
        things = list(source.iterdir())
    except OSError:
        return
    for thing in things:
        if thing.name != but:
            (target / thing.name).symlink_to(os.readlink(thing) if thing.is_symlink() else thing)


def _judged(found: Any) -> Result:
    if "error" in found:
        fix = "install PortAudio (Debian: apt install libportaudio2; macOS: brew install portaudio)"
        return _result("warn", f"sounddevice cannot load it: {found['error']}", fix)
    inputs, outputs = found["inputs"], found["outputs"]
    if not inputs or not outputs:
        lacking = " and no ".join(
            name for name, there in (("microphone", inputs), ("speaker", outputs)) if not there
        )
        return _result("info", f"{found['version']}, no {lacking}", "plug one in, or name a device")
    names = [name or "none" for name in found["default"]]
    seen = f"{len(inputs)} inputs, {len(outputs)} outputs; default: {names[0]}, {names[1]}"
    return Result(id="sound", title=_TITLE, status="ok", seen=seen)


def _result(status: Any, seen: str, fix: str) -> Result:
    return Result(id="sound", title=_TITLE, status=status, seen=seen, effect=_ONLY_TALK, fix=fix)
