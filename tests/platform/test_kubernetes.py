"""The Kubernetes manifests: what they share with compose and the configs, what they render to, and that they work.

No cluster is here. Objects are decoded strictly into the types of their APIs, and the commands of the
containers run as processes, with the variables and the user that a pod would give them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from otel_realtime.demo.scenario import Answer, Scenario
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.demo.speech import tone
from otel_realtime.sandbox import Sandbox
from tests.platform.binaries import KUSTOMIZE, STRICT_DECODER
from tests.support.isolation import KEY
from tests.support.manifests import (
    COLLECTOR,
    KUBERNETES,
    KUSTOMIZATIONS,
    containers,
    kustomize,
    literals,
    objects,
    one,
    rendered,
    variables,
)
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import clean_environment, free_ports
from tests.support.programs import program
from tests.support.victims import files_below
from tests.support.waiting import wait_for

ROOT = COLLECTOR.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
GATEWAY = objects((KUBERNETES / "gateway.yaml").read_text())
APP = objects((KUBERNETES / "app" / "deployment.yaml").read_text())
DESTINATIONS = literals(KUBERNETES / "app" / "destinations.env")


def compose_default(value: str) -> str:
    """What compose takes where nothing is set: ``${NAME:-value}`` is ``value``."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))


def collector() -> dict[str, Any]:
    """The Collector's container."""
    (found,) = containers(one(GATEWAY, "StatefulSet"))
    return found


def app(name: str) -> dict[str, Any]:
    """The app's container, or the worker's."""
    (found,) = [c for c in containers(one(APP, "Deployment")) if c["name"] == name]
    return found


def jaeger_patch() -> list[dict[str, Any]]:
    """What the component for Jaeger adds to the Collector."""
    component = yaml.safe_load((KUBERNETES / "jaeger" / "kustomization.yaml").read_text())
    return list(yaml.safe_load(component["patches"][0]["patch"]))


# -- the same as elsewhere ---------------------------------------------------------------------------


def test_the_gateway_is_the_collector_of_compose() -> None:
    """Image, variables, ports and memory are those that compose gives it."""
    service, gateway = COMPOSE["otelcol"], collector()
    assert compose_default(service["image"]).partition("@")[0] == gateway["image"]
    here = variables(gateway, {})
    added = [step["value"] for step in jaeger_patch()]
    here |= {one["name"]: one["value"] for one in added if isinstance(one, dict)}
    there = {name: compose_default(value) for name, value in service["environment"].items()}
    assert "LANGSMITH_API_KEY" == here["LANGSMITH_API_KEY"]  # from the Secret
    # Where the Collector cannot tell by itself which of its variables are set, compose names more.
    assert here | there | {"LANGSMITH_API_KEY": "LANGSMITH_API_KEY"} == here | {
        name: value for name, value in there.items() if name not in here
    }
    ports = {port["containerPort"] for port in gateway["ports"]}
    assert {int(str(port).split(":")[-1]) for port in service["ports"]} == ports
    limit = gateway["resources"]["limits"]["memory"]
    assert (str(service["mem_limit"]), "512Mi") == ("512m", limit)


def test_the_configs_are_those_that_compose_reads() -> None:
    """Each is named once, from the same folder; a kustomization has none of its own."""
    named = [arg.removeprefix("--config=/etc/otelcol/") for arg in collector()["args"]]
    named += [
        step["value"].removeprefix("--config=/etc/otelcol/")
        for step in jaeger_patch()
        if isinstance(step["value"], str) and step["value"].startswith("--config=")
    ]
    kustomization = yaml.safe_load((COLLECTOR / "kustomization.yaml").read_text())
    (configs,) = kustomization["configMapGenerator"]
    assert {*named} <= {*configs["files"]}
    assert [] == [name for name in configs["files"] if not (COLLECTOR / name).is_file()]
    theirs = [Path(one).name for one in COMPOSE["otelcol"]["command"] if "/etc/otelcol/" in one]
    assert sorted(theirs) == sorted(named)
    assert [] == [*KUBERNETES.rglob("config*.yaml")]


def test_ports_and_probes_are_those_of_the_config() -> None:
    """Each port stands in a config; the probes ask the health check."""
    text = "".join(path.read_text() for path in COLLECTOR.glob("config*.yaml"))
    for port in collector()["ports"]:
        assert str(port["containerPort"]) in text
    names = {port["name"] for port in collector()["ports"]}
    assert 13133 in {p["containerPort"] for p in collector()["ports"] if p["name"] == "health"}
    for service in (found for found in GATEWAY if found["kind"] == "Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_the_apps_image_is_that_of_compose() -> None:
    """App and worker run what compose builds, and send to the gateway's Service."""
    images = {container["image"] for container in containers(one(APP, "Deployment"))}
    assert {COMPOSE["demo"]["image"]} == images
    service = one(GATEWAY, "Service", "otelcol")
    http = [port["port"] for port in service["spec"]["ports"] if port["name"] == "otlp-http"]
    address = f"http://otelcol.telemetry.svc:{http[0]}"
    assert address == DESTINATIONS["OTEL_EXPORTER_OTLP_ENDPOINT"]
    instrumentation = yaml.safe_load((KUBERNETES / "operator" / "instrumentation.yaml").read_text())
    assert address == instrumentation["spec"]["exporter"]["endpoint"]


# -- locked down, and told to stop in order ----------------------------------------------------------


def test_every_container_is_locked_down() -> None:
    """Not root, nothing to write but volumes, no capability, no token, and memory has a limit."""
    for workload in (one(GATEWAY, "StatefulSet"), one(APP, "Deployment")):
        spec = workload["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert {"type": "RuntimeDefault"} == spec["securityContext"]["seccompProfile"]
        assert "runAsUser" not in spec["securityContext"]  # the image's, or the cluster's
        assert not spec["automountServiceAccountToken"]
        for container in containers(workload):
            locked = container["securityContext"]
            assert locked["readOnlyRootFilesystem"]
            assert not locked["allowPrivilegeEscalation"]
            assert {"drop": ["ALL"]} == locked["capabilities"]
            assert "memory" in container["resources"]["limits"]
    for name in ("demo.Dockerfile", "demo.released.Dockerfile"):
        user = re.findall(r"^USER (.+)$", (COLLECTOR / name).read_text(), re.MULTILINE)
        assert user[-1].isdecimal(), "runAsNonRoot cannot see what a user's name means"


@pytest.mark.parametrize("folder", ["app", "app-pvc", "node-worker"])
def test_the_pod_has_the_time_that_its_containers_take(folder: str) -> None:
    """preStop, the last calls, writing, and then the worker's grace are less than the pod's."""
    found = objects(rendered(KUBERNETES / folder))
    workload = one(found, "StatefulSet" if folder == "app-pvc" else "Deployment")
    by_name = {container["name"]: container for container in containers(workload)}
    needed = by_name["app"]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed += float(variables(by_name["app"], DESTINATIONS)["LAST_CALLS_S"])
    code = (KUBERNETES / "app" / "app.py").read_text()
    needed += float(re.findall(r"^WRITE_S = (.+)$", code, re.MULTILINE)[0])
    if "worker" in by_name:
        command = by_name["worker"]["command"]
        needed += float(command[command.index("--grace") + 1])
        assert "Always" == by_name["worker"]["restartPolicy"]
    assert needed < workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]


def test_only_the_worker_has_the_key() -> None:
    """The app's container gets none, and no file has one."""
    assert "LANGSMITH_API_KEY" not in variables(app("app"), DESTINATIONS)
    assert "LANGSMITH_API_KEY" == variables(app("worker"), DESTINATIONS)["LANGSMITH_API_KEY"]
    assert "worker" == DESTINATIONS["OTEL_REALTIME_DELIVER"]
    for path in KUBERNETES.rglob("*"):
        if path.is_file():
            assert not re.search(r"lsv2_(pt|sk)_\w{8}|sk-\w{16}", path.read_text()), path


# -- rendered ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_it_renders(folder: str) -> None:
    """Every kustomization, each ConfigMap and Secret that is named being there."""
    found = objects(rendered(ROOT / folder))
    made = {item["metadata"]["name"] for item in found if item["kind"] in ("ConfigMap", "Secret")}
    for workload in (item for item in found if "template" in item.get("spec", {})):
        for container in containers(workload):
            names = [source["configMapRef"]["name"] for source in container.get("envFrom", ())]
            sources = [variable.get("valueFrom", {}) for variable in container.get("env", ())]
            names += [one["secretKeyRef"]["name"] for one in sources if "secretKeyRef" in one]
            assert {*names} <= made
        for volume in workload["spec"]["template"]["spec"]["volumes"]:
            assert volume.get("configMap", {}).get("name", "") in {"", *made}


def overlay(folder: Path) -> Path:
    """A kustomization beside somebody's own manifests, as the page shows it."""
    page = (KUBERNETES / "README.md").read_text()
    (text,) = [
        block
        for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
        if "components:" in block
    ]
    local = os.path.relpath(COLLECTOR, folder.resolve())
    text = re.sub(r"https://\S+?//collector(\S*?)\?ref=\S+", rf"{local}\1", text)
    (folder / "kustomization.yaml").write_text(text)
    (folder / ".env").write_text("LANGSMITH_API_KEY=mine\n")
    return folder


def test_an_overlay_of_yours(tmp_path: Path) -> None:
    """Jaeger beside LangSmith, OpenShift's users, and a key from a file that is not in git."""
    found = objects(rendered(overlay(tmp_path)))
    gateway = one(found, "StatefulSet")
    (container,) = containers(gateway)
    assert ["config.yaml", "config.jaeger.yaml", "config.metrics.yaml"] == [
        Path(arg).name for arg in container["args"]
    ]
    assert "jaeger:4317" == variables(container, {})["JAEGER_OTLP_ENDPOINT"]
    assert "fsGroup" not in gateway["spec"]["template"]["spec"]["securityContext"]
    assert {"LANGSMITH_API_KEY": "bWluZQ=="} == one(found, "Secret")["data"]


@pytest.mark.platform
@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_the_api_knows_every_field(folder: str) -> None:
    """Decoded strictly into the types of Kubernetes and of the OpenTelemetry Operator."""
    decoder = program(STRICT_DECODER)
    text = rendered(ROOT / folder)
    done = subprocess.run([decoder], input=text, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout
    assert len(objects(text)) == done.stdout.count(": ok\n")
    wrong = text.replace("metadata:", "metadatum:", 1)
    done = subprocess.run([decoder], input=wrong, capture_output=True, text=True, check=False)
    assert 1 == done.returncode
    assert 'unknown field "metadatum"' in done.stdout


@pytest.mark.platform
def test_kustomize_renders_what_kubectl_does() -> None:
    """The two programs agree, so whichever a machine has will do."""
    binary = program(KUSTOMIZE)
    for folder in KUSTOMIZATIONS:
        done = subprocess.run([binary, "build", ROOT / folder], capture_output=True, check=True)
        assert objects(done.stdout.decode()) == objects(rendered(ROOT / folder))
    assert kustomize()


# -- as processes ------------------------------------------------------------------------------------


class Pod:
    """App and worker as processes of one user, told to stop as the kubelet does: first the app.

    Args:
        folder: holds what the volumes hold.
        values: of Secrets and addresses.
        within: a command that runs both as another user.
    """

    def __init__(self, folder: Path, values: dict[str, str], within: list[str]) -> None:
        self.folder = folder
        self.state = folder / "volume" / "state"
        (self.port,) = free_ports(1)
        self._values = values | {"OTEL_REALTIME_STATE_DIR": str(self.state)}
        self._within = within
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a container's command."""
        container = app(name)
        here = {
            "otel-realtime": [sys.executable, "-m", "otel_realtime"],
            "python": [sys.executable],
            "/etc/voice-app/app.py": [str(KUBERNETES / "app" / "app.py")],
        }
        command = [part for word in container["command"] for part in here.get(word, [word])]
        wanted = variables(container, DESTINATIONS)
        given = {key: value for key, value in self._values.items() if key in wanted}
        extra = {"PORT": str(self.port), "PYTHONPATH": str(ROOT), "HOME": str(self.folder / "none")}
        for key in ("OPENAI_WEBSOCKET_URL",):
            extra[key] = self._values[key]
        environment = clean_environment(**{**wanted, **given, **extra})
        if "LANGSMITH_API_KEY" not in wanted:
            assert "LANGSMITH_API_KEY" not in environment
        with (self.folder / f"{name}.log").open("wb") as log:
            self._started[name] = subprocess.Popen(
                [*self._within, *command], env=environment, stdout=log, stderr=log, cwd="/"
            )
        return self._started[name]

    def call(self) -> str:
        """Hold one call."""
        url = f"http://127.0.0.1:{self.port}"

        def ready() -> bool:
            assert self._started["app"].poll() is None, self.log("app")
            try:
                return requests.get(f"{url}/healthz", timeout=1).ok
            except requests.RequestException:
                return False

        wait_for(ready, "the app", timeout_s=40)
        return requests.post(f"{url}/call", timeout=30).text

    def stop(self, name: str) -> int:
        """SIGTERM; returns the exit code."""
        child = self._started.pop(name)
        child.send_signal(signal.SIGTERM)
        return child.wait(60)

    def kill(self, name: str) -> None:
        """SIGKILL."""
        child = self._started.pop(name)
        child.kill()
        child.wait()

    def log(self, name: str) -> str:
        """What a container wrote."""
        return (self.folder / f"{name}.log").read_text()

    def end(self) -> None:
        """Leave nothing running."""
        for name in list(self._started):
            self.kill(name)


ARBITRARY = ["setpriv", "--reuid", "1000680000", "--regid", "0", "--clear-groups"]


@contextmanager
def pod(folder: Path, sandbox: Sandbox, **values: str) -> Iterator[Pod]:
    """A pod with a user that has no home and no name, where this process may become one."""
    volume = folder / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    may = os.geteuid() == 0 and shutil.which("setpriv") is not None
    if may and subprocess.run([*ARBITRARY, "true"], check=False).returncode != 0:
        may = False
    within = ARBITRARY if may else []
    answer = Answer(text="Hello.", pcm=tone(440, 0.3))
    with (
        ScriptedServer(Scenario(answers=(answer,) * 3)) as server,
        OtlpRecorder(base="", key="content-type") as otlp,
    ):
        started = Pod(
            folder,
            {
                "LANGSMITH_ENDPOINT": sandbox.url,
                "LANGSMITH_API_KEY": KEY,
                "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint,
                "OPENAI_WEBSOCKET_URL": server.url,
                "OPENAI_API_KEY": "any",
                **values,
            },
            within,
        )
        try:
            yield started
        finally:
            started.end()


def the_one(sandbox: Sandbox) -> dict[str, Any]:
    """The only conversation, which is as it should be."""
    (listed,) = sandbox.conversations()
    found = sandbox.conversation(listed["id"])
    assert found is not None
    assert [] == found["violations"]
    return found


def journals(state: Path) -> list[Path]:
    """What is not delivered; the lock of a process that has just ended may be there still."""
    return [path for path in files_below(state) if path.suffix != ".lock"]


def test_a_pod_that_is_told_to_stop_loses_nothing(sandbox: Sandbox, open_folder: Path) -> None:
    """The app ends at once, its worker delivers the call, and nothing is left on the volume."""
    with pod(open_folder, sandbox) as running:
        worker = running.start("worker")
        running.start("app")
        assert "Hello." == running.call()
        assert 0 == running.stop("app"), running.log("app")
        assert worker.poll() is None
        assert 0 == running.stop("worker"), running.log("worker")
        assert [] == journals(running.state)
        found = the_one(sandbox)
        assert "success" == found["status"]
        assert "attached" == found["root"]["metadata"]["ls_audio_attach_status"]
        assert "voice" == found["root"]["project"]


def test_an_app_that_is_killed_loses_nothing(sandbox: Sandbox, open_folder: Path) -> None:
    """Out of memory, say: its worker delivers what it left while the container starts again."""
    with pod(open_folder, sandbox) as running:
        running.start("worker")
        running.start("app")
        assert "Hello." == running.call()
        running.kill("app")
        wait_for(
            sandbox.conversations,
            f"the call {running.log('worker')} {files_below(running.state)}",
            timeout_s=30,
        )
        wait_for(lambda: not journals(running.state), "an empty volume", timeout_s=60)
        assert 0 == running.stop("worker"), running.log("worker")
        assert the_one(sandbox)["root"]["project"] == "voice"
