"""Finds, or builds once, the real programs of the platform's tests.

They are kept beside those of ``tests/e2e/binaries.py`` and found in the same way::

    python -m tests.platform.binaries             # build what is missing, print where all are
    python -m tests.platform.binaries promtool    # the same for one of them
    python -m tests.platform.binaries --check     # only look; exit status 1 when one is missing
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.e2e.binaries import Binary, main
from tests.matrix.environments import uv
from tests.platform.compose_plugin import COMPOSE
from tests.platform.kafka_jars import KAFKA
from tests.platform.kube_build import KUSTOMIZE, STRICT_DECODER, VALIDATOR
from tests.platform.prometheus_build import PROMETHEUS, PROMTOOL

PHOENIX_VERSION: Final = "20.26.1"


def _install_phoenix(target: Path) -> None:
    """An environment of its own (620 MB) beside the program, which only calls it."""
    folder = target.with_name(f"{target.name}-environment")
    python = folder / "bin" / "python"
    requirement = f"arize-phoenix=={PHOENIX_VERSION}"
    subprocess.run([uv(), "venv", "-q", "--clear", "-p", sys.executable, folder], check=True)
    subprocess.run([uv(), "pip", "install", "-q", "-p", python, requirement], check=True)
    target.write_text(f'#!/bin/sh\nexec {shlex.quote(str(folder / "bin" / "phoenix"))} "$@"\n')
    target.chmod(0o755)


PHOENIX: Final = Binary(
    variable="PHOENIX_BIN",
    names=("phoenix",),
    cached_as=f"phoenix-{PHOENIX_VERSION}",
    build=_install_phoenix,
)
BY_NAME: Final[dict[str, Binary]] = {
    "compose": COMPOSE,
    "kafka": KAFKA,
    "kubernetes-validate": VALIDATOR,
    "kustomize": KUSTOMIZE,
    "phoenix": PHOENIX,
    "prometheus": PROMETHEUS,
    "promtool": PROMTOOL,
    "strictkube": STRICT_DECODER,
}

if __name__ == "__main__":
    sys.exit(main(by_name=BY_NAME))
