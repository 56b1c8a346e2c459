"""Builds Prometheus and promtool from their Go module, which needs Go 1.26.7 and a minute or two."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.e2e.binaries import Binary, _install, _run

PROMETHEUS_VERSION: Final = "3.16.0"
#: The module's version of it; it only builds inside its own module.
PROMETHEUS_MODULE: Final = "github.com/prometheus/prometheus@v0.316.0"


def _build_prometheus(name: str) -> Callable[[Path], None]:
    """Return what builds one of Prometheus' programs, without its page and its service discoveries."""

    def build(target: Path) -> None:
        module = json.loads(_run("go", "mod", "download", "-json", PROMETHEUS_MODULE))["Dir"]
        version = f"-X github.com/prometheus/common/version.Version={PROMETHEUS_VERSION}"
        with tempfile.TemporaryDirectory() as folder:
            built = Path(folder) / name
            _run(
                *("go", "build", "-tags", "netgo,remove_all_sd", "-ldflags", version),
                *("-o", built, f"./cmd/{name}"),
                cwd=Path(module),
                GOWORK="off",  # its workspace names folders that the module does not have
            )
            _install(built, target)

    return build


PROMETHEUS: Final = Binary(
    variable="PROMETHEUS_BIN",
    names=("prometheus",),
    cached_as=f"prometheus-{PROMETHEUS_VERSION}",
    build=_build_prometheus("prometheus"),
)
PROMTOOL: Final = Binary(
    variable="PROMTOOL_BIN",
    names=("promtool",),
    cached_as=f"promtool-{PROMETHEUS_VERSION}",
    build=_build_prometheus("promtool"),
)
