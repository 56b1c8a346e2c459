"""An environment for each neighbour, made once, with its own interpreter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.neighbours.table import Neighbour

ROOT = Path(__file__).parents[2]


def folder() -> Path:
    """Where the environments are."""
    return Path(os.environ.get("NEIGHBOURS", ROOT / ".venv-neighbours"))


def interpreter(neighbour: Neighbour) -> Path | None:
    """The interpreter of its environment; ``None`` if that was not made."""
    made = folder() / neighbour.name
    return made / "bin" / "python" if (made / "ready").is_file() else None


def make(neighbour: Neighbour) -> Path:
    """Make its environment, if it is not there.

    Where its version of Python is not installed, that of this process is taken.
    """
    ready = interpreter(neighbour)
    if ready is not None:
        return ready
    uv, made = shutil.which("uv") or str(Path(sys.executable).with_name("uv")), folder()
    made.mkdir(parents=True, exist_ok=True)
    target = made / neighbour.name
    python = next(_interpreters(neighbour.python), sys.executable)
    subprocess.run([uv, "venv", "-q", "--clear", "-p", python, str(target)], check=True)
    install = [uv, "pip", "install", "-q", "-p", str(target / "bin" / "python")]
    packages = ["-e", str(ROOT), "openai>=1.103", *neighbour.requires]
    subprocess.run([*install, *packages], check=True)
    (target / "ready").touch()
    return target / "bin" / "python"


def _interpreters(version: str) -> Iterator[str]:
    """Interpreters of a version that run: pyenv's command stands in for versions that are not chosen."""
    pyenv = Path.home() / ".pyenv" / "versions"
    found = [shutil.which(f"python{version}"), *map(str, pyenv.glob(f"{version}.*/bin/python"))]
    for path in filter(None, found):
        if subprocess.run([path, "-V"], capture_output=True, check=False).returncode == 0:
            yield path
