"""The Collector's files that ship with the package, and the code that writes them into a folder.

In a wheel the files are in ``_collector`` next to this module. In a checkout, or an editable installation
of one, they are the repository's own. Both contain ``docker-compose.yml`` and the folder ``collector``, so
the written folder has the same layout as the repository and ``docker compose up`` works in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from otel_realtime import console
from otel_realtime.errors import ConfigError
from otel_realtime.version import VERSION

_HERE: Final = Path(__file__).parent
_COMPOSE: Final = "docker-compose.yml"
_FOLDER: Final = "collector"
#: Records the version and the digests of the files it wrote: an unchanged file may be replaced.
RECORD: Final = f"{_FOLDER}/.written.json"
#: File -> file whose content it gets: outside of a checkout, the demo's image must install the released
#: package, and the compose file builds the image from the first file.
_INSTEAD: Final = {f"{_FOLDER}/demo.Dockerfile": f"{_FOLDER}/demo.released.Dockerfile"}
_EXECUTABLE: Final = 0o111


@dataclass(frozen=True, slots=True)
class File:
    """One file as it ships.

    Attributes:
        path: path relative to the folder that is written, with slashes.
        content: bytes of the file.
        executable: whether the file is executable.
    """

    path: str
    content: bytes
    executable: bool


@dataclass(slots=True)
class Written:
    """What was done with each file, by path."""

    folder: Path
    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the report for scripts."""
        return {
            "folder": str(self.folder),
            "version": VERSION,
            "written": self.written,
            "unchanged": self.unchanged,
            "kept": self.kept,
        }


def shipped() -> list[File]:
    """Return all files, sorted by path.

    Raises:
        ConfigError: the files are missing from the installation.
    """
    root = _root()
    names = sorted(_names(root))
    return [_file(root, name) for name in names if name not in _INSTEAD.values()]


def _root() -> Path:
    for root in (_HERE / "_collector", _HERE.parent):
        if (root / _COMPOSE).is_file() and (root / _FOLDER / "config.yaml").is_file():
            return root
    raise ConfigError("this installation has no files of the Collector: install the wheel again")


def _names(root: Path) -> Iterator[str]:
    yield _COMPOSE
    for path in (root / _FOLDER).rglob("*"):
        name = path.relative_to(root)
        if path.is_file() and not any(part.startswith((".", "__")) for part in name.parts):
            yield name.as_posix()


def _file(root: Path, name: str) -> File:
    source = root / _INSTEAD.get(name, name)
    return File(name, source.read_bytes(), bool(source.stat().st_mode & _EXECUTABLE))


def write(folder: Path, *, force: bool = False) -> Written:
    """Write the files into a folder, which is created if it does not exist.

    A file that the user changed is kept. A file that is still as an earlier version of this package wrote
    it is replaced, and a missing file is written again.

    Args:
        folder: folder to write to.
        force: whether to replace changed files, too.

    Raises:
        ConfigError: the files are missing from the installation.
        OSError: the folder cannot be written.
    """
    files, done = shipped(), Written(folder)
    known = _known(folder / RECORD)
    for file in files:
        target = folder / file.path
        found = target.read_bytes() if os.path.lexists(target) else None
        if found == file.content:
            done.unchanged.append(file.path)
        elif found is None or force or known.get(file.path) == _digest(found):
            _put(target, file.content, executable=file.executable)
            done.written.append(file.path)
        else:
            done.kept.append(file.path)
    # The record of a kept file stays as it was: if the user reverts the change, it may be replaced again.
    ours = {file.path: _digest(file.content) for file in files if file.path not in done.kept}
    kept = {path: known[path] for path in done.kept if path in known}
    files_now = dict(sorted({**kept, **ours}.items()))
    if files_now != known:
        record = json.dumps({"version": VERSION, "files": files_now})
        _put(folder / RECORD, f"{record}\n".encode())
    return done


def _known(record: Path) -> Mapping[str, Any]:
    """Return the digests of the files written here before; empty if the record cannot be read."""
    try:
        files = json.loads(record.read_bytes())["files"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return files if isinstance(files, dict) else {}


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _put(target: Path, content: bytes, *, executable: bool = False) -> None:
    """Write a file atomically, so that a full disk leaves the previous file intact."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target = Path(os.path.realpath(target))  # a symbolic link is kept
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        if executable:
            part.chmod(part.stat().st_mode | _EXECUTABLE)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def run(folder: Path, *, force: bool = False, as_json: bool = False) -> int:
    """Write the Collector's files and report what was done, for ``otel-realtime init collector``.

    Args:
        folder: folder to write to.
        force: whether to replace changed files, too.
        as_json: whether to print the report as JSON.

    Returns:
        The exit code: 0 if the folder has every file as it ships, 1 if changed files were kept.

    Raises:
        ConfigError: the files are missing from the installation.
        OSError: the folder cannot be written.
    """
    done = write(folder, force=force)
    for path in done.kept:
        console.tell(f"kept, because it was changed: {folder / path}", error=True)
    if done.kept:
        console.tell("--force replaces what was changed", error=True)
    if as_json:
        console.say(json.dumps(done.as_json()))
    else:
        counts = f"{len(done.written)} written, {len(done.unchanged)} unchanged"
        console.say(f"{folder}: {counts}, {len(done.kept)} kept")
        console.say(
            f"{folder / _FOLDER / 'README.md'} explains them; in {folder}: docker compose up -d"
        )
    return 1 if done.kept else 0
