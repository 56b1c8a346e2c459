"""The real ``docker compose``: it reads compose files without an engine.

Built from its Go module; the newest release that Go 1.26.8 builds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from tests.e2e.binaries import Binary, _install, _run

VERSION: Final = "5.6.0"
_MODULE: Final = "github.com/docker/compose/v5"


def _build(target: Path) -> None:
    module = json.loads(_run("go", "mod", "download", "-json", f"{_MODULE}@v{VERSION}"))["Dir"]
    built = target.with_name(f"{target.name}.built")
    named = f"-X {_MODULE}/internal.Version=v{VERSION}"
    _run("go", "build", "-trimpath", "-ldflags", named, "-o", built, "./cmd", cwd=Path(module))
    _install(built, target)
    built.unlink()


COMPOSE: Final = Binary(
    variable="DOCKER_COMPOSE_BIN",
    names=("docker-compose-v5",),
    cached_as=f"docker-compose-{VERSION}",
    build=_build,
)
