"""Makes the environments: with uv, cached by what is in them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.matrix.members import FOR_TESTS, Environment

REPOSITORY: Final = Path(__file__).parents[2]
FOLDER: Final = REPOSITORY / ".matrix"
_READY: Final = "matrix-ready"
INSTALL_S: Final = 900.0


class NotAvailable(Exception):
    """An environment cannot be made here, and why."""


def uv() -> str:
    """Return the path of ``uv``; install it beside this interpreter if it is nowhere."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "uv"], check=True)
        found = str(beside)
    return found


def interpreter(version: str) -> str | None:
    """Return the interpreter of a version, wherever this machine keeps it; ``None`` if nowhere."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    number, free = version.rstrip("t"), version.endswith("t")
    pattern = re.compile(rf"{re.escape(number)}\.\d+{'t' if free else ''}")
    folders = [folder for folder in sorted(pyenv.glob("*")) if pattern.fullmatch(folder.name)]
    places = [shutil.which(f"python{version}"), *(str(each / "bin/python") for each in folders)]
    for place in places:
        if place is None:
            continue
        told = subprocess.run(
            [place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
        )
        if told.returncode == 0 and told.stdout.strip() == number:
            return place
    return None


def requirements(environment: Environment) -> list[str]:
    """Return what is installed, the project itself first."""
    extra = FOR_TESTS if environment.tests else ()
    return ["--editable", ".", *environment.requirements, *extra]


def made(environment: Environment) -> Path | None:
    """Return the interpreter of an environment; ``None`` if that has not been made."""
    python = interpreter(environment.python)
    folder = None if python is None else _folder(environment, python)
    return folder / "bin/python" if folder and (folder / _READY).exists() else None


def make(environment: Environment) -> Path:
    """Return the interpreter of an environment; make the environment if it is not there.

    Raises:
        NotAvailable: it cannot be made here.
    """
    ready = made(environment)
    if ready is not None:
        return ready
    python = interpreter(environment.python)
    if python is None:
        raise NotAvailable("no interpreter of this version was at hand")
    folder = _folder(environment, python)
    inside = folder / "bin/python"
    for stale in FOLDER.glob(f"{environment.name}-????????????"):
        shutil.rmtree(stale)
    _run([uv(), "venv", "--quiet", "--python", python, str(folder)])
    resolution = ["--resolution", "lowest-direct"] if environment.lowest else []
    try:
        _run(
            [
                *(uv(), "pip", "install", "--quiet", "--python", str(inside)),
                *resolution,
                *requirements(environment),
            ]
        )
    except NotAvailable:
        shutil.rmtree(folder)
        raise
    (folder / _READY).touch()
    return inside


def _folder(environment: Environment, python: str) -> Path:
    return FOLDER / f"{environment.name}-{_key(environment, python)}"


def _key(environment: Environment, python: str) -> str:
    """What an environment's content depends on."""
    project = (REPOSITORY / "pyproject.toml").read_text()
    own = project[project.index("[project]") : project.index("[project.urls]")]
    said = [python, own, str(environment.lowest), *requirements(environment)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:12]


def _run(command: list[str]) -> None:
    environment = {
        **os.environ,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_HTTP_TIMEOUT": os.environ.get("UV_HTTP_TIMEOUT", "180"),
    }
    for last in (False, True):
        try:
            done = subprocess.run(
                command,
                cwd=REPOSITORY,
                env=environment,
                capture_output=True,
                text=True,
                timeout=INSTALL_S,
            )
        except subprocess.TimeoutExpired:
            raise NotAvailable(f"not installed within {INSTALL_S:.0f} s") from None
        if done.returncode == 0:
            return
        if last:
            raise NotAvailable(" ".join(done.stderr.split())[-300:])
