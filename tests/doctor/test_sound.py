"""PortAudio, in a process of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from otel_realtime.doctor import sound
from otel_realtime.doctor.children import ChildError, run_child
from otel_realtime.doctor.model import Result
from tests.support.doctor import here


def one() -> Result:
    """What is said of PortAudio."""
    (found,) = sound.look(here())
    return found


def test_this_machine_is_answered_for() -> None:
    """Whatever it has; nothing of it is a failure of a call."""
    result = one()
    assert "sound" == result.id
    assert result.status != "fail"


def test_without_sounddevice(process: pytest.MonkeyPatch) -> None:
    """Only one command needs it."""
    process.setattr(sound, "find_spec", lambda _: None)
    assert ("info", 'pip install "otel-realtime[audio]"') == (one().status, one().fix)


def stand_in(process: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """Let ``import sounddevice`` find another module."""
    (folder / "sounddevice.py").write_text(text)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    process.setenv("PYTHONPATH", path)
    process.setattr(sound, "find_spec", lambda _: object())


DEVICES = """
def get_portaudio_version(): return 1, "PortAudio V19"
def query_devices(): return [
    {"name": "Mic", "max_input_channels": 1, "max_output_channels": 0},
    {"name": "Box", "max_input_channels": 0, "max_output_channels": 2},
]
class default: device = (0, 1)
"""


def test_devices_are_counted_and_the_default_is_named(
    process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine with both."""
    stand_in(process, tmp_path, DEVICES)
    assert ("ok", "1 inputs, 1 outputs; default: Mic, Box") == (one().status, one().seen)


@pytest.mark.parametrize(
    ("text", "status", "seen"),
    [
        ("raise OSError('PortAudio library not found')", "warn", "PortAudio library not found"),
        ("import os; os._exit(3)", "warn", "exit code 3"),
        (
            DEVICES.replace('"max_output_channels": 2', '"max_output_channels": 0'),
            "info",
            "no speaker",
        ),
    ],
    ids=["no-library", "dies", "no-speaker"],
)
def test_what_is_missing_is_named(
    process: pytest.MonkeyPatch, tmp_path: Path, text: str, status: str, seen: str
) -> None:
    """Each with what to do."""
    stand_in(process, tmp_path, text)
    found = one()
    assert (status, True) == (found.status, seen in found.seen)
    assert found.fix


def test_what_the_user_has_of_pulseaudio_is_found(
    process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its cookie, its runtime folder, and other files of configuration; what it makes goes again."""
    config = tmp_path / "config"
    (config / "pulse").mkdir(parents=True)
    (config / "pulse" / "cookie").write_bytes(b"c" * 256)
    (config / "pulse" / "id-runtime").symlink_to("/run/of-the-user")
    (config / "alsa").mkdir()
    process.setenv("XDG_CONFIG_HOME", str(config))
    process.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (folder := tmp_path / "apart").mkdir()
    env = sound._apart(folder)
    assert {str(folder)} == set(env.values())
    assert b"c" * 256 == (folder / "pulse" / "cookie").read_bytes()
    assert "/run/of-the-user" == os.readlink(folder / "pulse" / "id-runtime")
    assert config / "alsa" == (folder / "alsa").resolve()
    (tmp_path / "pulse").mkdir()
    (again := tmp_path / "again").mkdir()
    assert "PULSE_RUNTIME_PATH" not in sound._apart(again)


# -- children --------------------------------------------------------------------------------------


def test_a_child_answers_in_json() -> None:
    """With its arguments, whatever it says before."""
    code = "import json, sys; print('noise'); print(json.dumps(sys.argv[1:]))"
    answer: Any = run_child(code, "a", "b", timeout_s=10)
    assert ["a", "b"] == answer


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "print('no json')", "1 / 0"])
def test_a_child_that_says_nothing_useful(code: str) -> None:
    """One line says why."""
    with pytest.raises(ChildError) as raised:
        run_child(code, timeout_s=10)
    assert "\n" not in str(raised.value)


def test_a_child_that_hangs_ends() -> None:
    """With its time."""
    began = time.monotonic()
    with pytest.raises(ChildError, match=r"no answer within 0\.3 s"):
        run_child("import time; time.sleep(30)", timeout_s=0.3)
    assert time.monotonic() - began < 5


def test_a_child_is_not_instrumented(process: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What ``opentelemetry-instrument`` puts on the path would start the app's telemetry in it."""
    folder = tmp_path / "opentelemetry" / "instrumentation" / "auto_instrumentation"
    folder.mkdir(parents=True)
    process.setenv("PYTHONPATH", f"{folder}{os.pathsep}{tmp_path}")
    paths = run_child("import json, sys; print(json.dumps(sys.path))", timeout_s=10)
    assert str(folder) not in paths
    assert str(tmp_path) in paths
