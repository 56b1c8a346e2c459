"""Finds, or builds once, the real programs of the platform's tests.

They are kept beside those of ``tests/e2e/binaries.py`` and found in the same way::

    python -m tests.platform.binaries             # build what is missing, print where all are
    python -m tests.platform.binaries promtool    # the same for one of them
    python -m tests.platform.binaries --check     # only look; exit status 1 when one is missing
"""

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

from tests.e2e.binaries import Binary, main
from tests.matrix.environments import uv
from tests.platform.compose_plugin import COMPOSE
from tests.platform.kafka_jars import KAFKA
from tests.platform.prometheus_build import PROMETHEUS, PROMTOOL

PHOENIX_VERSION: Final = "20.26.1"
KUSTOMIZE_VERSION: Final = "5.7.1"
KUSTOMIZE_MODULE: Final = f"sigs.k8s.io/kustomize/kustomize/v5@v{KUSTOMIZE_VERSION}"


def _install_phoenix(target: Path) -> None:
    """An environment of its own (620 MB) beside the program, which only calls it."""
    folder = target.with_name(f"{target.name}-environment")
    python = folder / "bin" / "python"
    requirement = f"arize-phoenix=={PHOENIX_VERSION}"
    subprocess.run([uv(), "venv", "-q", "--clear", "-p", sys.executable, folder], check=True)
    subprocess.run([uv(), "pip", "install", "-q", "-p", python, requirement], check=True)
    target.write_text(f'#!/bin/sh\nexec {shlex.quote(str(folder / "bin" / "phoenix"))} "$@"\n')
    target.chmod(0o755)


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


KUSTOMIZE: Final = Binary(
    variable="KUSTOMIZE_BIN",
    names=("kustomize",),
    cached_as=f"kustomize-{KUSTOMIZE_VERSION}",
    build=_build_kustomize,
)
STRICTKUBE: Final = Path(__file__).parent / "strictkube"
STRICT_DECODER: Final = Binary(
    variable="STRICTKUBE_BIN",
    names=("strictkube",),
    cached_as=f"strictkube-{hashlib.sha256((STRICTKUBE / 'main.go').read_bytes()).hexdigest()[:12]}",
    build=_build_strictkube,
)
PHOENIX: Final = Binary(
    variable="PHOENIX_BIN",
    names=("phoenix",),
    cached_as=f"phoenix-{PHOENIX_VERSION}",
    build=_install_phoenix,
)
BY_NAME: Final[dict[str, Binary]] = {
    "compose": COMPOSE,
    "kafka": KAFKA,
    "kustomize": KUSTOMIZE,
    "phoenix": PHOENIX,
    "prometheus": PROMETHEUS,
    "promtool": PROMTOOL,
    "strictkube": STRICT_DECODER,
}

if __name__ == "__main__":
    sys.exit(main(by_name=BY_NAME))
