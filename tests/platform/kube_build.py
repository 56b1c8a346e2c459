"""Builds kustomize, and what decodes Kubernetes objects strictly, from their Go modules."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.e2e.binaries import Binary
from tests.matrix.environments import uv

STRICTKUBE: Final = Path(__file__).parent / "strictkube"
VALIDATOR_VERSION: Final = "1.37.0"
KUSTOMIZE_VERSION: Final = "5.7.1"
KUSTOMIZE_MODULE: Final = f"sigs.k8s.io/kustomize/kustomize/v5@v{KUSTOMIZE_VERSION}"


def _build_kustomize(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["go", "install", KUSTOMIZE_MODULE], env=os.environ | {"GOBIN": folder}, check=True
        )
        shutil.copy2(Path(folder) / "kustomize", target)


def _build_strictkube(target: Path) -> None:
    """The types of Kubernetes and of the OpenTelemetry Operator: five minutes from an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(shutil.copytree(STRICTKUBE, Path(folder) / "strictkube"))
        built = Path(folder) / "built"
        # Which versions the others are follows from the three of go.mod; their sums come from Go's database.
        subprocess.run(["go", "build", "-mod=mod", "-o", built, "."], cwd=work, check=True)
        shutil.copy2(built, target)


def _install_validator(target: Path) -> None:
    """An environment of its own (120 MB: the schemas of each version) beside a program that calls it."""
    folder = target.with_name(f"{target.name}-environment")
    python = folder / "bin" / "python"
    requirement = f"kubernetes-validate=={VALIDATOR_VERSION}"
    subprocess.run([uv(), "venv", "-q", "--clear", "-p", sys.executable, folder], check=True)
    subprocess.run([uv(), "pip", "install", "-q", "-p", python, requirement], check=True)
    program = shlex.quote(str(folder / "bin" / "kubernetes-validate"))
    target.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
    target.chmod(0o755)


def _digest() -> str:
    """Of what the program is made of."""
    source = b"".join((STRICTKUBE / name).read_bytes() for name in ("main.go", "go.mod"))
    return hashlib.sha256(source).hexdigest()[:12]


KUSTOMIZE: Final = Binary(
    variable="KUSTOMIZE_BIN",
    names=("kustomize",),
    cached_as=f"kustomize-{KUSTOMIZE_VERSION}",
    build=_build_kustomize,
)
STRICT_DECODER: Final = Binary(
    variable="STRICTKUBE_BIN",
    names=("strictkube",),
    cached_as=f"strictkube-{_digest()}",
    build=_build_strictkube,
)
VALIDATOR: Final = Binary(
    variable="KUBERNETES_VALIDATE_BIN",
    names=("kubernetes-validate",),
    cached_as=f"kubernetes-validate-{VALIDATOR_VERSION}",
    build=_install_validator,
)
