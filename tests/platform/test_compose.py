"""``docker-compose.yml``: what it takes from its containers, which versions it names, and that it runs.

There is no engine here. Compose's own ``config`` reads the files; ``without_containers`` runs what they
say. That one is made from the files, so what is held here is that it leaves nothing of them out.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import yaml

from tests.e2e.binaries import COLLECTOR, JAEGER, JAEGER_VERSION
from tests.platform import compose_file, hardened
from tests.platform.compose_file import CONTAINER_ONLY, KEYS, Service, Unsupported, services
from tests.platform.compose_plugin import COMPOSE as PLUGIN
from tests.platform.prometheus_build import PROMETHEUS, PROMETHEUS_VERSION
from tests.platform.without_containers import COMPOSE, Failed, Run, settled
from tests.support.certificates import Authority
from tests.support.handmade import conversation, send_http
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import CONFIGS, ROOT
from tests.support.programs import program
from tests.support.waiting import wait_for

SECURE: Final = CONFIGS / "security" / "docker-compose.yml"
FILES: Final = {"plain": (COMPOSE,), "secure": (COMPOSE, SECURE)}
#: Variables that a user may set; the tests of both readers run with and without them.
GIVEN: Final = {
    "LANGSMITH_API_KEY": "lsv2_pt_test",
    "LANGSMITH_PROJECT": "",
    "JAEGER_OTLP_INSECURE": "false",
    "OTELCOL_IMAGE": f"otel/opentelemetry-collector-contrib:0.161.0@sha256:{'0' * 64}",
    "OTELCOL_PUBLISH": "0.0.0.0",
    "OTELCOL_HTTPS_PROXY": "http://proxy.example.com:3128",
    "OTELCOL_NO_PROXY": "10.0.0.0/8,.example.com",
    "OTELCOL_TLS_DIR": "/srv/certs",
    "OTELCOL_TOKEN": "token",
}


def profiles() -> list[str]:
    """Every profile of the file."""
    loaded = yaml.safe_load(COMPOSE.read_text())["services"].values()
    return sorted({name for service in loaded for name in service.get("profiles", [])})


def everything(*files: Path, **env: str) -> dict[str, Service]:
    """All services, with every profile."""
    return {one.name: one for one in services(files or (COMPOSE,), env, profiles())}


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", everything().values(), ids=lambda one: one.name)
def test_every_service_has_no_more_than_it_needs(service: Service) -> None:
    """Nothing to write to but its volumes, no capability, no way to get one, bounds for all it uses."""
    keys = service.keys
    assert keys["read_only"] is True
    assert ["ALL"] == keys["cap_drop"]
    assert ["no-new-privileges:true"] == keys["security_opt"]
    assert {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}} == keys[
        "logging"
    ]
    assert {"cpus", "mem_limit", "pids_limit"} <= keys.keys()
    assert "privileged" not in keys
    if service.name == "otelcol-init":  # it gives the queue's directory to the Collector, and ends
        assert ("0:0", ["CHOWN"], "none") == (keys["user"], keys["cap_add"], keys["network_mode"])
        return
    assert "cap_add" not in keys
    assert keys["user"].split(":")[0] not in {"0", "root", ""}


def test_every_image_has_a_full_version_and_can_be_pinned_by_digest() -> None:
    """By a variable of its own, whose value may be any reference. The demo's image is built here."""
    for name, section in yaml.safe_load(COMPOSE.read_text())["services"].items():
        image = section["image"]
        if "build" in section:
            assert ("otel-realtime-demo:local", "build") == (image, section["pull_policy"]), name
            (pinned,) = section["build"]["args"].values()
        else:
            pinned = image
        assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[a-z/-]+:v?\d+\.\d+\.\d+(-slim)?\}", pinned), name
        assert everything(OTELCOL_IMAGE="x@sha256:y")["otelcol"].keys["image"] == "x@sha256:y"


def test_the_versions_are_those_that_the_tests_run() -> None:
    """The Collector's stands in its builder's config, Jaeger's in what builds it here."""
    found = everything()
    built = yaml.safe_load((CONFIGS / "builder-config.yaml").read_text())["dist"]["version"]
    assert f"otel/opentelemetry-collector-contrib:{built}" == found["otelcol"].keys["image"]
    assert f"jaegertracing/jaeger:{JAEGER_VERSION}" == found["jaeger"].keys["image"]
    assert f"prom/prometheus:v{PROMETHEUS_VERSION}" == found["prometheus"].keys["image"]


def test_the_demo_s_base_image_has_one_version() -> None:
    """That of the compose file and both of the Dockerfile."""
    build = everything()["demo"].keys["build"]
    for name in ("demo.Dockerfile", "demo.released.Dockerfile"):
        assert f"ARG PYTHON_IMAGE={build['args']['PYTHON_IMAGE']}\n" in (CONFIGS / name).read_text()


def test_what_is_mounted_is_there_and_every_volume_is_declared() -> None:
    """A folder that Compose does not find it makes, as root and empty."""
    found = everything()
    volumes = [volume for one in found.values() for volume in one.volumes]
    declared = yaml.safe_load(COMPOSE.read_text())["volumes"]
    assert set(declared) == {volume.source for volume in volumes if volume.named}
    assert [] == [one.source for one in volumes if not one.named and not Path(one.source).exists()]


def test_only_the_loopback_interface_is_published_to() -> None:
    """Nothing that takes unauthenticated spans is open to the network by default."""
    for files in FILES.values():
        ports = [port for one in everything(*files).values() for port in one.ports]
        assert {"127.0.0.1"} == {port.host for port in ports}


# --- its reader -----------------------------------------------------------------------------------


def test_every_key_of_a_service_is_carried_out_or_has_a_reason() -> None:
    """And no other is spoken of."""
    used = {
        key for files in FILES.values() for one in everything(*files).values() for key in one.keys
    }
    assert used == KEYS.keys() | CONTAINER_ONLY.keys()
    assert not KEYS.keys() & CONTAINER_ONLY.keys()


@pytest.mark.parametrize(
    "text",
    [
        "services: {a: {image: x, privileged: true}}",
        "services: {a: {image: x}}\nconfigs: {}",
        "services: {a: {image: '${X:?needed}'}}",
        "services: {a: {image: x, depends_on: [a]}}",
    ],
)
def test_what_is_not_understood_is_not_ignored(tmp_path: Path, text: str) -> None:
    """A key, a section, a form of variable, a circle."""
    path = tmp_path / "compose.yml"
    path.write_text(text)
    with pytest.raises(Unsupported):
        services([path], {})


def test_a_mount_of_another_mode_raises() -> None:
    """As on SELinux."""
    service = Service("a", {"volumes": ["a:/b:z"]}, ROOT)
    with pytest.raises(Unsupported):
        _ = service.volumes


@pytest.mark.parametrize("text", ["", "1x", "s"])
def test_what_is_no_duration_raises(text: str) -> None:
    """A unit that Compose does not have, or none."""
    with pytest.raises(Unsupported):
        compose_file.seconds(text)


@pytest.mark.platform
@pytest.mark.parametrize("given", [{}, GIVEN], ids=["defaults", "variables"])
@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
@pytest.mark.parametrize("active", [[], *([one] for one in profiles())], ids=str)
def test_compose_itself_reads_the_same(
    files: tuple[Path, ...], active: list[str], given: dict[str, str]
) -> None:
    """Its own `config` takes the files, and finds the values that are run here."""
    done = subprocess.run(
        [
            str(program(PLUGIN)),
            *(word for file in files for word in ("-f", str(file))),
            *(word for one in active for word in ("--profile", one)),
            "config",
            "--format=json",
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    theirs = json.loads(done.stdout)["services"]
    ours = {one.name: one for one in services(files, given, active)}
    assert theirs.keys() == ours.keys()
    for name, one in ours.items():
        assert shown(one) == {key: theirs[name].get(key) for key in shown(one)}, name
        theirs_only = theirs[name].keys() - shown(one).keys()
        extra = {key for key in theirs_only if theirs[name][key] is not None} - {"networks"}
        assert not extra, f"{name}: {extra}"


def shown(service: Service) -> dict[str, Any]:
    """A service as Compose shows it."""
    found: dict[str, Any] = dict(service.keys)
    units = {"m": 1024**2, "g": 1024**3}
    found["mem_limit"] = str(int(found["mem_limit"][:-1]) * units[found["mem_limit"][-1]])
    found["environment"] = service.environment or None
    found["depends_on"] = {
        name: {"condition": condition, "required": True}
        for name, condition in service.conditions.items()
    } or None
    found["volumes"] = [
        {
            "type": "volume" if one.named else "bind",
            "source": one.source,
            "target": one.target,
            **({"read_only": True} if one.read_only else {}),
            "volume" if one.named else "bind": {},
        }
        for one in service.volumes
    ] or None
    found["ports"] = [
        {
            "mode": "ingress",
            "host_ip": port.host,
            "target": port.target,
            "published": str(port.published),
            "protocol": "tcp",
        }
        for port in service.ports
    ] or None
    if "build" in found:
        found["build"] = found["build"] | {"context": str(service.folder)}
    return found


# --- its first step -------------------------------------------------------------------------------

root_only = pytest.mark.skipif(not hardened.is_possible(), reason="as root on Linux only")
OWNER: Final = "10001:10001"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user reaches; pytest's own is for one user."""
    with tempfile.TemporaryDirectory(prefix="otel-realtime-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def prepare(volume: Path, key: str = "") -> str:
    """Run the first step with the one capability that it has."""
    keys = everything()["otelcol-init"].keys
    command = ["sh", str(CONFIGS / "init.sh"), str(CONFIGS), str(volume), OWNER]
    contained = hardened.hardened(
        command, keys, user=keys["user"], hosts=Path("/etc/hosts"), writable=[volume], read_only=[]
    )
    done = subprocess.run(
        contained,
        env={"PATH": os.environ["PATH"], "LANGSMITH_API_KEY": key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


@root_only
@pytest.mark.parametrize("volume_of", ["a fresh one", "an earlier version", "a run before"])
def test_the_volume_is_prepared_without_other_capabilities(place: Path, volume_of: str) -> None:
    """Root may then write only what is its own: what the Collector owns by now is in nobody's way."""
    volume = place / "volume"
    volume.mkdir()
    if volume_of == "an earlier version":  # it gave the Collector everything
        (volume / "queue").mkdir()
        (volume / "destinations.yaml").write_text("{}\n")
        for path in (volume, volume / "queue", volume / "destinations.yaml"):
            os.chown(path, 10001, 10001)
    if volume_of == "a run before":
        prepare(volume, "lsv2_pt_test")
        kept = volume / "queue" / "exporter_traces"
        kept.write_text("spans")
        kept.chmod(0o600)
        os.chown(kept, 10001, 10001)
        (volume / "queue").chmod(0o700)
    assert "LANGSMITH_API_KEY is not set" in prepare(volume)
    config = (CONFIGS / "config.jaeger-only.yaml").read_text()
    assert config == (volume / "destinations.yaml").read_text()
    assert 0o644 == (volume / "destinations.yaml").stat().st_mode & 0o777
    assert (10001, 10001) == ((volume / "queue").stat().st_uid, (volume / "queue").stat().st_gid)
    assert "LANGSMITH_API_KEY is set" in prepare(volume, "lsv2_pt_test")
    assert "{}\n" == (volume / "destinations.yaml").read_text()


@root_only
def test_what_a_container_takes_is_taken(place: Path) -> None:
    """It is another user without privileges, and can write to its volume only."""
    own, other = place / "own", place / "other"
    for folder in (own, other):
        folder.mkdir()
        folder.chmod(0o777)
    script = 'cat /proc/self/status; touch "$1/a" && echo wrote own; touch "$2/a" || echo not other'
    keys = everything()["otelcol"].keys
    done = subprocess.run(
        hardened.hardened(
            ["sh", "-c", script, "sh", str(own), str(other)],
            keys,
            user=keys["user"],
            hosts=Path("/etc/hosts"),
            writable=[own],
            read_only=[],
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    status = dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)
    assert {"10001"} == set(status["Uid"].split()) == set(status["Gid"].split())
    assert {"0000000000000000"} == {
        status[f"Cap{one}"] for one in ("Eff", "Prm", "Inh", "Bnd", "Amb")
    }
    assert "1" == status["NoNewPrivs"]
    assert done.stdout.endswith("wrote own\nnot other\n")


# --- all of it ------------------------------------------------------------------------------------


def base() -> str:
    """The first three numbers of loopback addresses of this process's own."""
    number = os.getpid()
    return f"127.{64 + number % 128}.{number // 128 % 250}"


def run_of(folder: Path, **given: Any) -> Run:
    """The services of the file, published to another address than a user's own would be."""
    return Run(folder / "run", base=base(), published=f"{base()}.2", **given)


def original(run: Run, name: str, text: str) -> str:
    """What the compose file says in the place of an address or folder of a run."""
    for target, place in run.running[name].mounts.items():
        text = text.replace(str(place), target)
    for other, address in run.addresses.items():
        text = text.replace(address, "0.0.0.0" if other == name else other)
    return text


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_commands_and_variables_are_those_of_the_file(
    place: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[Path, ...]
) -> None:
    """But for addresses and folders, word for word; nothing of this process's environment is added."""
    monkeypatch.setattr(hardened, "is_possible", lambda: False)
    for folder in ("certs", "auth"):
        (place / folder).mkdir()
    (place / "certs" / "ca.crt").touch()
    env = {"OTELCOL_TLS_DIR": str(place / "certs"), "OTELCOL_AUTH_DIR": str(place / "auth")}
    run = run_of(place, files=files, profiles=profiles(), env=env)
    found = everything(*files, **env)
    assert found.keys() == run.running.keys() | {"grafana"}
    assert ["grafana"] == run.left_out
    for name, running in run.running.items():
        command = running.command[len(running.program) :]
        us = f"{os.getuid()}:{os.getgid()}"
        assert found[name].command == [
            original(run, name, one).replace(us, OWNER) for one in command
        ]
        variables = {
            key: original(run, name, value)
            for key, value in running.environment.items()
            if key not in {"PATH", "HOME", "PYTHONPATH"}
        }
        assert found[name].environment == variables


@pytest.mark.collector
@pytest.mark.parametrize(
    ("contained", "key"),
    [pytest.param(True, "", marks=root_only), (False, "lsv2_pt_test")],
    ids=["contained, no key", "key"],
)
def test_it_serves_langsmith_only_with_a_key_and_jaeger_always(
    place: Path, monkeypatch: pytest.MonkeyPatch, contained: bool, key: str
) -> None:
    """By the published port; a Collector that dies is started again. With and without containers' rules."""
    assert program(COLLECTOR)
    assert program(JAEGER)
    monkeypatch.setattr(hardened, "is_possible", lambda: contained)
    with OtlpRecorder() as langsmith:
        outside = langsmith.endpoint.replace("127.0.0.1", "localhost")  # the former is the service
        env = {"LANGSMITH_API_KEY": key, "LANGSMITH_OTLP_ENDPOINT": outside}
        with run_of(place, env=env) as run:
            run.running["ready"].healthy()
            assert OWNER == run.running["otelcol"].user or not contained
            sent = conversation()
            assert send_http(f"http://{base()}.2:4318", sent)
            jaeger = f"http://{base()}.2:16686/api/traces/{sent.trace_id}"
            wait_for(lambda: requests.get(jaeger, timeout=5).status_code == 200, "trace in Jaeger")
            assert (5 if key else 0) == len(langsmith.wait(5 if key else 0))
            collector = run.running["otelcol"]
            assert collector._child is not None
            os.kill(collector._child.pid, signal.SIGKILL)
            wait_for(lambda: collector.starts == 2, "the Collector to be started again")
            run.running["ready"].healthy()


@pytest.mark.collector
def test_the_secure_one_lets_in_who_has_a_token(place: Path, process: pytest.MonkeyPatch) -> None:
    """By TLS, at the published port; the key is only for the Collector's user."""
    assert program(COLLECTOR)
    assert program(JAEGER)
    authority = Authority(place / "authority")
    pair = authority.issue("server", "otelcol", f"{base()}.2")
    certs, auth = place / "certs", place / "auth"
    for folder in (certs, auth):
        folder.mkdir()
    for source, name in (
        (authority.file, "ca.crt"),
        (pair.certificate, "tls.crt"),
        (pair.key, "tls.key"),
    ):
        source.rename(certs / name)
    (auth / "tokens").write_text("good\n")
    if hardened.is_possible():
        for path in (certs / "tls.key", auth / "tokens"):
            path.chmod(0o400)
            os.chown(path, 10001, 10001)
    env = {"OTELCOL_TLS_DIR": str(certs), "OTELCOL_AUTH_DIR": str(auth)}
    with run_of(place, files=FILES["secure"], env=env) as run:
        run.running["ready"].healthy()
        process.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certs / "ca.crt"))
        process.delenv("REQUESTS_CA_BUNDLE", raising=False)
        process.delenv("CURL_CA_BUNDLE", raising=False)
        url = f"https://{base()}.2:4318"
        process.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20bad")
        assert not send_http(url, conversation())
        process.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20good")
        assert send_http(url, conversation())


@pytest.mark.collector
def test_the_demo_s_call_is_in_the_sandbox_and_in_jaeger_once(place: Path) -> None:
    """As with ``docker compose --profile demo up``, without LANGSMITH_API_KEY; every span of it."""
    assert program(COLLECTOR)
    assert program(JAEGER)
    with run_of(place, profiles=["demo"], env={}) as run:
        run.running["demo"].completed()
        assert "The trace is complete." in run.running["demo"].text()
        runs, spans = settled(run)
        assert len(runs) > 50
        assert runs == spans
        assert {1} == set(Counter(runs).values())
        host = {"Host": f"{run.addresses['sandbox']}:1984"}
        page = requests.get(f"http://{base()}.2:1984/", headers=host, timeout=5)
        assert 200 == page.status_code
        assert {1} == {one.starts for one in run.running.values()}


@root_only
@pytest.mark.platform
def test_prometheus_scrapes_the_collector_by_its_name(place: Path) -> None:
    """With the files and features of the compose file, as nobody; Grafana is not to be had here."""
    assert program(COLLECTOR)
    assert program(JAEGER)
    assert program(PROMETHEUS)
    with run_of(place, profiles=["dashboards"], env={}) as run:
        query = f"http://{base()}.2:9090/api/v1/query"

        def up() -> list[str]:
            try:
                found = requests.get(query, params={"query": "up == 1"}, timeout=5).json()
            except (requests.RequestException, ValueError):
                return []
            return sorted(one["metric"]["job"] for one in found["data"]["result"])

        wait_for(lambda: up() == ["otel-realtime", "otelcol"], "both targets", timeout_s=40)
        assert "65534:65534" == run.running["prometheus"].user
        rules = requests.get(f"http://{base()}.2:9090/api/v1/rules", timeout=5).json()
        assert rules["data"]["groups"]


def test_a_service_that_does_not_become_ready_ends_the_run(place: Path) -> None:
    """With what every service has written."""
    path = place / "compose.yml"
    path.write_text(
        """\
services:
  first:
    image: busybox
    command: [sh, -c, "echo once; sleep 60"]
    healthcheck: {test: [CMD, "false"], interval: 1s, timeout: 1s, retries: 2}
  second:
    image: busybox
    command: ["true"]
    depends_on: {first: {condition: service_healthy}}
"""
    )
    run = run_of(place, files=[path], env={})
    with pytest.raises(Failed, match="first is not healthy: first: once"):
        run.up()
    run.down()
    assert 0 == run.running["second"].starts
