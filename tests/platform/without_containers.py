"""Runs ``docker-compose.yml`` without containers: its commands, files, variables, ports and order.

::

    python -m tests.platform.without_containers --profile demo           # as `docker compose --profile demo up`
    python -m tests.platform.without_containers --profile demo --keep    # until Ctrl-C

Each service has a loopback address of its own, and folders below ``--folder`` in the place of its mounts;
``compose_file.KEYS`` says what else becomes of each key. It needs Linux, where all of 127.0.0.0/8 is this
machine, and the programs of ``tests/e2e/binaries.py``. As root it takes from each process what the file takes
from its container, and the services find each other by name; else addresses stand in the place of the names.
Variables are those of the environment; a .env file is not read. The sandbox's page answers to the address that is printed, not at its published one: it does not listen on
every address here.

With the profile ``demo`` it ends by saying whether the call is in the sandbox and in Jaeger, each of its
spans once.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import requests

from otel_realtime.langsmith.ids import run_id
from tests.e2e.binaries import COLLECTOR, JAEGER
from tests.platform import hardened
from tests.platform.compose_file import Service, Volume, seconds, services
from tests.platform.prometheus_build import PROMETHEUS
from tests.support.forwarder import Forwarder

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = ROOT / "docker-compose.yml"
#: Name of an image -> what its ENTRYPOINT runs.
PROGRAMS: Final[Mapping[str, Any]] = {
    "busybox": list,
    "otel/opentelemetry-collector-contrib": lambda: [str(COLLECTOR.find())],
    "jaegertracing/jaeger": lambda: [str(JAEGER.find())],
    "otel-realtime-demo": lambda: [sys.executable, "-m", "otel_realtime"],
    "prom/prometheus": lambda: [str(PROMETHEUS.find())],
}
#: Images whose program is not to be had here, so that their services are left out.
NOT_HERE: Final = frozenset({"grafana/grafana"})
#: Words of commands and checks that are programs of an image -> those of this machine.
_WORDS: Final = {"python": sys.executable}
#: Where an image has a folder of its own user's, whose owner a fresh volume takes.
_OWNED: Final = frozenset({"/data", "/prometheus"})
_HEALTH: Final = {"interval": "30s", "timeout": "30s", "retries": 3, "start_period": "0s"}


class Failed(Exception):
    """A service did not do what another one waits for."""


class Running:
    """One service as a process.

    Args:
        service: the service.
        run: what it is part of.
    """

    def __init__(self, service: Service, run: Run) -> None:
        self.service = service
        self.starts = 0
        self.log = run.folder / f"{service.name}.log"
        self._run = run
        self._stopping = False
        self._child: subprocess.Popen[bytes] | None = None
        self.mounts = run.mounts(service)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(run.folder / "home"),
            "PYTHONPATH": str(ROOT),  # the package that the demo's image has installed
            **{name: self.here(value) for name, value in service.environment.items()},
        }
        self.program = [run.reachable(one) for one in PROGRAMS[image_of(service)]()]
        self.command = [*self.program, *(self.here(one) for one in service.command)]
        self.user = self._user()

    def here(self, text: str) -> str:
        """Return a text of the compose file with addresses and folders of this machine."""
        targets = "|".join(map(re.escape, sorted(self.mounts, key=len, reverse=True)))
        if targets:
            text = re.sub(
                rf"(?<![\w.-])({targets})(?=[/:\s]|$)",
                lambda target: str(self.mounts[target[1]]),
                text,
            )
        if not self._run.hardens:  # no other user's file can be made
            text = re.sub(r"^\d+:\d+$", f"{os.getuid()}:{os.getgid()}", text)
        own = self._run.addresses[self.service.name]
        text = re.sub(r"\b(0\.0\.0\.0|127\.0\.0\.1)\b", own, text)
        if self._run.hardens:  # /etc/hosts has the names
            return text
        names = "|".join(map(re.escape, self._run.addresses))
        return re.sub(
            rf"(?<![\w.-])({names})(?=:\d)", lambda name: self._run.addresses[name[1]], text
        )

    def _user(self) -> str | None:
        wanted = self.service.keys.get("user")
        if wanted is None or not self._run.hardens or not self.program:
            return wanted if self._run.hardens else None
        return wanted if hardened.can_run(wanted, Path(self.program[0])) else None

    def _contained(self, command: Sequence[str]) -> list[str]:
        if not self._run.hardens:
            return list(command)
        read_only = {volume.target for volume in self.service.volumes if volume.read_only}
        return hardened.hardened(
            command,
            self.service.keys,
            user=self.user,
            hosts=self._run.hosts,
            writable=[place for target, place in self.mounts.items() if target not in read_only],
            read_only=[place for target, place in self.mounts.items() if target in read_only],
        )

    def start(self) -> None:
        """Start it; again as often as it ends, where the file says so."""
        self._launch()
        if self.service.keys.get("restart", "no") != "no":
            threading.Thread(target=self._restart, daemon=True).start()

    def _launch(self) -> None:
        self.starts += 1
        with self.log.open("ab") as out:
            self._child = subprocess.Popen(
                self._contained(self.command),
                env=self.environment,
                cwd=self._run.folder,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def _restart(self) -> None:
        while not self._stopping:
            assert self._child is not None
            self._child.wait()
            if not self._stopping:
                time.sleep(0.5)
                self._launch()

    def completed(self) -> None:
        """Wait for its end.

        Raises:
            Failed: it was no success.
        """
        assert self._child is not None
        if self._child.wait() != 0:
            raise Failed(f"{self.service.name} ended with {self._child.returncode}: {self.text()}")

    def healthy(self) -> None:
        """Wait for its health check to succeed.

        Raises:
            Failed: it has failed as often as the file admits.
        """
        check = _HEALTH | self.service.keys["healthcheck"]
        kind, *test = check["test"]
        command = ["sh", "-c", *test] if kind == "CMD-SHELL" else test
        command = [_WORDS.get(command[0], command[0]), *(self.here(one) for one in command[1:])]
        began, failed = time.monotonic(), 0
        while failed < int(check["retries"]):
            try:
                done = subprocess.run(
                    self._contained(command),
                    env=self.environment,
                    timeout=seconds(check["timeout"]),
                    capture_output=True,
                    check=False,
                )
                if done.returncode == 0:
                    return
            except subprocess.TimeoutExpired:
                pass
            failed += time.monotonic() - began > seconds(check["start_period"])
            time.sleep(min(seconds(check["interval"]), 1.0))  # no need to be as slow
        raise Failed(f"{self.service.name} is not healthy: {self._run.tails()}")

    def stop(self) -> None:
        """End it as ``docker compose stop`` does."""
        self._stopping = True
        child = self._child
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(seconds(self.service.keys.get("stop_grace_period", "10s")))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def text(self) -> str:
        """What it has written."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""


class Run:
    """All services of compose files, from the first to the last.

    Args:
        folder: an empty folder for volumes, copies and logs; others may look into it.
        files: the compose files.
        profiles: active profiles.
        env: variables for the files.
        base: the first three numbers of the addresses.
        published: where ports are published, in the place of 127.0.0.1.
    """

    def __init__(
        self,
        folder: Path,
        *,
        files: Sequence[Path] = (COMPOSE,),
        profiles: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        base: str = "127.0.1",
        published: str = "127.0.0.1",
    ) -> None:
        self.folder = folder
        self.hardens = hardened.is_possible()
        all_of_them = services(files, os.environ if env is None else env, profiles)
        found = [one for one in all_of_them if image_of(one) not in NOT_HERE]
        self.left_out = [one.name for one in all_of_them if one not in found]
        self.addresses = {
            one.name: f"{base}.{number}" for number, one in enumerate(found, start=10)
        }
        (folder / "home").mkdir(parents=True)
        self.hosts = folder / "hosts"
        lines = [f"{address} {name}" for name, address in self.addresses.items()]
        self.hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        self.running = {one.name: Running(one, self) for one in found}
        self.forwarders = [
            Forwarder(
                f"{self.addresses[one.name]}:{port.target}",
                port.host.replace("127.0.0.1", published),
                port.published,
            )
            for one in found
            for port in one.ports
        ]

    def mounts(self, service: Service) -> dict[str, Path]:
        """Return the place of each mount of a service on this machine."""
        found = {volume.target: self._place(service, volume) for volume in service.volumes}
        for target in service.tmpfs:
            found[target] = self.folder / "tmpfs" / service.name / target.strip("/")
            found[target].mkdir(parents=True)
            found[target].chmod(0o1777)
        return found

    def _place(self, service: Service, volume: Volume) -> Path:
        if volume.named:  # one for all services
            place = self.folder / "volumes" / volume.source
            if not place.exists():
                place.mkdir(parents=True)
                if volume.target in _OWNED:
                    place.chmod(0o777)
            return place
        if not volume.read_only:
            return Path(volume.source)
        # Copied: the service's user may not get to where it is. Paths within it stay as they are.
        place = self.folder / "mounts" / service.name / volume.target.strip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        _copy(Path(volume.source), place)
        return place

    def reachable(self, program: str) -> str:
        """Return a program where every user may run it."""
        if not self.hardens or Path(program).name.startswith("python") or program.startswith("-"):
            return program
        if "/" not in program:
            return program
        place = self.folder / "bin" / Path(program).name
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            try:
                os.link(program, place)
            except OSError:
                shutil.copy2(program, place)
        return str(place)

    def __enter__(self) -> Run:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Start every service when what it depends on is ready.

        Raises:
            Failed: that did not become ready.
        """
        for forwarder in self.forwarders:
            forwarder.up()
        for one in self.running.values():
            for name, condition in one.service.conditions.items():
                if condition == "service_completed_successfully":
                    self.running[name].completed()
                elif condition == "service_healthy":
                    self.running[name].healthy()
            one.start()

    def down(self) -> None:
        """Stop every service, the last one first."""
        for one in reversed(self.running.values()):
            one.stop()
        for forwarder in self.forwarders:
            forwarder.down()

    def tails(self) -> str:
        """Return the end of each log."""
        return "\n".join(f"{name}: {one.text()[-1500:]}" for name, one in self.running.items())


def image_of(service: Service) -> str:
    """Return the name of a service's image."""
    name: str = service.keys["image"].partition(":")[0]
    return name


def _copy(source: Path, place: Path) -> None:
    """Copy a file or folder with the owner and mode of each."""
    if source.is_file():
        shutil.copy2(source, place)
        if os.geteuid() == 0:
            os.chown(place, source.stat().st_uid, source.stat().st_gid)
        return
    place.mkdir()
    for one in source.iterdir():
        if one.name != "__pycache__":
            _copy(one, place / one.name)


def arrived(run: Run) -> tuple[list[str], list[str]]:
    """Return the runs of the demo's calls in the sandbox, and those of its spans in Jaeger.

    Both as ids of LangSmith, sorted; one that came twice is there twice.
    """
    sandbox = f"http://{run.addresses['sandbox']}:1984/api/conversations"
    jaeger = f"http://{run.addresses['jaeger']}:16686/api/traces"
    runs = [
        one["id"]
        for listed in requests.get(sandbox, timeout=10).json()["conversations"]
        for one in requests.get(f"{sandbox}/{listed['id']}", timeout=10).json()["runs"]
    ]
    service = run.running["demo"].environment["OTEL_SERVICE_NAME"]
    params = {"service": service, "lookback": "1h", "limit": "100"}
    spans = [
        run_id(int(span["spanID"], 16))
        for trace in requests.get(jaeger, params=params, timeout=10).json()["data"]
        for span in trace["spans"]
        if trace["spans"]
    ]
    return sorted(runs), sorted(spans)


def settled(run: Run, timeout_s: float = 20.0) -> tuple[list[str], list[str]]:
    """Wait until both have the same, and return that, or what they have when the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        runs, spans = arrived(run)
        if (runs and runs == spans) or time.monotonic() > deadline:
            return runs, spans
        time.sleep(0.5)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    parser = argparse.ArgumentParser(description="Run docker-compose.yml without containers.")
    parser.add_argument("-f", "--file", action="append", type=Path, help="a compose file")
    parser.add_argument("--profile", action="append", default=[], help="an active profile")
    parser.add_argument("--folder", type=Path, help="an empty folder for volumes and logs")
    parser.add_argument("--keep", action="store_true", help="stop at Ctrl-C")
    given = parser.parse_args(argv)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="otel-realtime-compose-"))
    folder.chmod(0o755)
    run = Run(folder, files=given.file or [COMPOSE], profiles=given.profile)
    for name in run.left_out:
        print(f"{name}: left out, its program is not to be had here")
    print(f"logs and volumes: {folder}; {'as in containers' if run.hardens else 'not hardened'}")
    try:
        with run:
            for name, one in run.running.items():
                print(f"{run.addresses[name]:<12} {name}: {' '.join(one.command)}")
            status = _demo(run) if "demo" in run.running else 0
            if given.keep or "demo" not in run.running:
                threading.Event().wait()
            return status
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _demo(run: Run) -> int:
    demo = run.running["demo"]
    demo.completed()
    print(demo.text())
    runs, spans = settled(run)
    twice = [one for found in (runs, spans) for one, count in Counter(found).items() if count > 1]
    result = {"runs in the sandbox": len(runs), "spans in Jaeger": len(spans), "twice": len(twice)}
    print(json.dumps(result))
    return 0 if runs and runs == spans and not twice else 1


if __name__ == "__main__":
    sys.exit(main())
