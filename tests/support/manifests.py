"""The Kubernetes manifests of ``collector/``: as files, as kustomize renders them, and as commands to run."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.platform.binaries import KUSTOMIZE

COLLECTOR: Final = Path(__file__).parents[2] / "collector"
KUBERNETES: Final = COLLECTOR / "kubernetes"
#: What `kubectl apply -k` is told, from the root of the repository.
KUSTOMIZATIONS: Final = (
    "collector",
    "collector/kubernetes/app",
    "collector/kubernetes/app-pvc",
    "collector/kubernetes/node-worker",
    "collector/kubernetes/operator",
)


def kustomize() -> list[str]:
    """The command that renders a folder; without any the test is skipped."""
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    found = KUSTOMIZE.find()
    if found is None:
        pytest.skip("neither kubectl nor kustomize (`make platform-binaries`) is here")
    return [str(found), "build"]


def rendered(folder: Path) -> str:
    """A kustomization as the YAML that is applied."""
    done = subprocess.run([*kustomize(), str(folder)], capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout


def objects(text: str) -> list[dict[str, Any]]:
    """The objects of a YAML stream."""
    return [one for one in yaml.safe_load_all(text) if one]


def one(found: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    """The one object of a kind, and of a name."""
    (match,) = [
        item for item in found if item["kind"] == kind and name in ("", item["metadata"]["name"])
    ]
    return match


def containers(workload: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All containers of a workload, those that start first included."""
    spec = workload["spec"]["template"]["spec"]
    yield from spec.get("initContainers", ())
    yield from spec["containers"]


def literals(path: Path) -> dict[str, str]:
    """A file of variables as kustomize reads it."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def variables(container: Mapping[str, Any], config: Mapping[str, str]) -> dict[str, str]:
    """The variables of a container; those from a Secret or the pod are called after where they come from.

    Args:
        container: the container.
        config: values of the ConfigMap that it takes all of.
    """
    found = dict(config) if "envFrom" in container else {}
    for variable in container.get("env", ()):
        source = variable.get("valueFrom", {})
        named = source.get("secretKeyRef") or source.get("fieldRef") or {}
        value = variable.get("value", named.get("key") or named.get("fieldPath"))
        found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda match: found[match[1]], value)
    return found
