"""Reads ``docker-compose.yml`` as Compose does: files merged, variables put in, services in their order.

Only what the files of this repository use is understood; anything else raises, so that nothing of them is
silently left out. ``KEYS`` and ``CONTAINER_ONLY`` say of every key of a service what becomes of it where
there are no containers. Syntax: https://docs.docker.com/reference/compose-file/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

#: Keys that ``without_containers`` carries out -> how.
KEYS: Final = {
    "image": "the program that stands for it (without_containers.PROGRAMS)",
    "command": "its arguments",
    "environment": "its whole environment, with PATH and HOME",
    "depends_on": "the order, and what is waited for",
    "healthcheck": "run as often, and until it answers or has failed too often",
    "restart": "started again when it ends, unless it is \"no\"",
    "stop_grace_period": "time between SIGTERM and SIGKILL",
    "volumes": "folders of this machine; read-only ones as root only",
    "tmpfs": "an empty folder",
    "ports": "forwarded from the published address",
    "profiles": "started only with its profile",
    "user": "as root only, and where that user can reach the program",
    "read_only": "as root only: everything but its volumes is mounted read-only",
    "cap_drop": "as root only: no capability, and none to be had",
    "cap_add": "as root only: the capabilities that are left",
    "security_opt": "no-new-privileges, as root only",
    "network_mode": "\"none\", as root only: a network of its own with nothing in it",
}  # fmt: skip
#: Keys that mean nothing without a container -> why.
CONTAINER_ONLY: Final = {
    "build": "the program is that of this checkout already",
    "pull_policy": "no image is pulled",
    "init": "reaps the children of a container's first process; there is no such process",
    "logging": "the engine's files; output goes to one file a service",
    "cpus": "a control group's, which this machine may not let us make",
    "mem_limit": "a control group's; GOMEMLIMIT, in the environment, is carried out",
    "pids_limit": "a control group's",
}
_TOP: Final = {"services", "volumes"}
_VARIABLE: Final = re.compile(r"\$(?:\$|\{(\w+)(?:(:-)([^${}]*))?\}|(\w+))")


class _Override(list[Any]):
    """A list that replaces the one of an earlier file: tag ``!override``."""


class _Loader(yaml.SafeLoader):
    """Safe, and knows Compose's own tag."""


_Loader.add_constructor(
    "!override", lambda loader, node: _Override(loader.construct_sequence(node))
)


class Unsupported(Exception):
    """A compose file has something that is not understood here."""


@dataclass(frozen=True)
class Volume:
    """What is mounted into a service.

    Attributes:
        source: a file or folder of this machine, or the name of a volume.
        target: where the service sees it.
        read_only: whether the service may not write there.
        named: whether the source is a volume's name.
    """

    source: str
    target: str
    read_only: bool
    named: bool


@dataclass(frozen=True)
class Port:
    """A published port."""

    host: str
    published: int
    target: int


@dataclass(frozen=True)
class Service:
    """One service, with every variable put in.

    Attributes:
        name: its name, by which the others reach it.
        keys: its section of the file.
        folder: that of the first compose file; relative paths begin there.
    """

    name: str
    keys: Mapping[str, Any]
    folder: Path

    @property
    def command(self) -> list[str]:
        """Its arguments."""
        return [str(one) for one in self.keys.get("command", [])]

    @property
    def environment(self) -> dict[str, str]:
        """Its variables."""
        return {name: str(value) for name, value in self.keys.get("environment", {}).items()}

    @property
    def conditions(self) -> dict[str, str]:
        """The services that it waits for, and for what of them."""
        given = self.keys.get("depends_on", {})
        if isinstance(given, list):
            return dict.fromkeys(given, "service_started")
        return {name: one["condition"] for name, one in given.items()}

    @property
    def volumes(self) -> list[Volume]:
        """What is mounted into it."""
        return [_volume(text, self.folder) for text in self.keys.get("volumes", [])]

    @property
    def tmpfs(self) -> list[str]:
        """Where it has memory for files."""
        return [text.split(":")[0] for text in self.keys.get("tmpfs", [])]

    @property
    def ports(self) -> list[Port]:
        """Its published ports."""
        return [_port(text) for text in self.keys.get("ports", [])]


def services(
    files: Sequence[Path], env: Mapping[str, str], profiles: Iterable[str] = ()
) -> list[Service]:
    """Return the services that ``docker compose up`` would start, each after those it depends on.

    Args:
        files: the compose files, as given by ``-f``.
        env: variables for them.
        profiles: the active profiles.

    Raises:
        Unsupported: a file has a key, or a form of one, that is not understood here.
    """
    model: Any = {}
    for file in files:
        loaded = yaml.load(file.read_text("utf-8"), _Loader)
        unknown = {key for key in loaded if key not in _TOP and not key.startswith("x-")}
        if unknown:
            raise Unsupported(f"{file.name}: {', '.join(sorted(unknown))}")
        model = _merged(model, loaded)
    active = set(profiles)
    found = {
        name: Service(name, _filled(keys, env), files[0].parent)
        for name, keys in model["services"].items()
        if not keys.get("profiles") or active & set(keys["profiles"])
    }
    for one in found.values():
        unknown = one.keys.keys() - KEYS.keys() - CONTAINER_ONLY.keys()
        if unknown:
            raise Unsupported(f"service {one.name}: {', '.join(sorted(unknown))}")
    return [found[name] for name in _ordered(found)]


def _merged(first: Any, second: Any, key: str = "") -> Any:
    if isinstance(second, _Override):
        return list(second)
    if isinstance(first, dict) and isinstance(second, dict):
        return first | {
            name: _merged(first[name], value, name) if name in first else value
            for name, value in second.items()
        }
    # Of the lists only these two replace: https://docs.docker.com/reference/compose-file/merge/
    if isinstance(first, list) and isinstance(second, list) and key not in {"command", "test"}:
        return first + [one for one in second if one not in first]
    return second


def _filled(value: Any, env: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, env) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, env) for one in value]
    return interpolated(value, env) if isinstance(value, str) else value


def interpolated(text: str, env: Mapping[str, str]) -> str:
    """Return a text with its variables: ``${A}``, ``${A:-default}`` and ``$$``.

    Raises:
        Unsupported: it has another form.
    """

    def put_in(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1] or match[4], "") or match[3] or ""

    left = _VARIABLE.sub("", text)
    if "$" in left:
        raise Unsupported(f"variable in {text!r}")
    return _VARIABLE.sub(put_in, text)


def _volume(text: str, folder: Path) -> Volume:
    source, target, *mode = text.split(":")
    if mode not in ([], ["ro"]):
        raise Unsupported(f"volume {text!r}")
    named = not source.startswith((".", "/"))
    path = source if named else str((folder / source).resolve())
    return Volume(path, target, mode == ["ro"], named)


def _port(text: str) -> Port:
    host, published, target = text.rsplit(":", 2)
    return Port(host, int(published), int(target))


def _ordered(found: Mapping[str, Service]) -> list[str]:
    order: list[str] = []

    def add(name: str, above: tuple[str, ...] = ()) -> None:
        if name in above:
            raise Unsupported(f"{name} depends on itself")
        if name not in order:
            for needed in found[name].conditions:
                add(needed, (*above, name))
            order.append(name)

    for name in found:
        add(name)
    return order


def seconds(text: str) -> float:
    """Return a duration, such as ``1m30s``, in seconds."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    parts = re.findall(r"(\d+)([hms])", text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        raise Unsupported(f"duration {text!r}")
    return sum(int(number) * units[unit] for number, unit in parts)
