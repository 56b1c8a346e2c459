"""Finds, or builds once, the real programs that tests run: the Collector, Jaeger, actionlint.

Each is looked for in ``OTELCOL_BIN`` / ``JAEGER_BIN`` / ``ACTIONLINT_BIN``, then on ``PATH``, then in
the cache (``$XDG_CACHE_HOME/otel-realtime-tests/bin``, by default under ``~/.cache``). The tests only
look; building is asked for on the command line and takes about seven minutes from an empty Go cache::

    python tests/e2e/binaries.py             # build what is missing, print where all are
    python tests/e2e/binaries.py actionlint  # the same for one of them
    python tests/e2e/binaries.py --check     # only look; exit status 1 when one is missing

Needs Go 1.26 or newer. Standard library only, so that it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BUILDER_CONFIG: Final = Path(__file__).parents[2] / "collector" / "builder-config.yaml"
BUILDER_MODULE: Final = "go.opentelemetry.io/collector/cmd/builder@v0.161.0"
JAEGER_MODULE: Final = "github.com/jaegertracing/jaeger@v1.76.0"
"""The module version of Jaeger 2.13; later releases have none, and it only builds inside its own module."""
JAEGER_VERSION: Final = "2.13.0"
ACTIONLINT_VERSION: Final = "1.7.7"
ACTIONLINT_MODULE: Final = f"github.com/rhysd/actionlint/cmd/actionlint@v{ACTIONLINT_VERSION}"


@dataclass(frozen=True)
class Binary:
    """One program: how it is named by the environment and on ``PATH``, kept, and built."""

    variable: str
    names: tuple[str, ...]
    cached_as: str
    build: Callable[[Path], None]

    def find(self) -> Path | None:
        """Return the program's path, or ``None``.

        Raises:
            SystemExit: the environment variable names a file that does not exist.
        """
        named = os.environ.get(self.variable)
        if named:
            path = Path(named).expanduser()
            if not path.is_file():
                raise SystemExit(f"{self.variable}={named}: there is no such file")
            return path
        for name in self.names:
            found = shutil.which(name)
            if found:
                return Path(found)
        cached = cache_folder() / self.cached_as
        return cached if cached.is_file() else None


def cache_folder() -> Path:
    """Return the folder that keeps built programs from one run to the next."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "otel-realtime-tests" / "bin"


def _meaning(config: str) -> str:
    """The builder's config without comments and blank lines, which change nothing in the build."""
    lines = (line.split(" #")[0].rstrip() for line in config.splitlines())
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))


def _digest(config: str) -> str:
    return hashlib.sha256(_meaning(config).encode()).hexdigest()[:12]


def _run(*command: str | Path, cwd: Path | None = None, **env: str) -> str:
    print("+", *command, file=sys.stderr, flush=True)
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | env,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def _build_collector(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _run("go", "install", BUILDER_MODULE, GOBIN=folder)
        config = BUILDER_CONFIG.read_text().replace("./_build", f"{folder}/_build")
        (work / "builder-config.yaml").write_text(config)
        _run(work / "builder", "--config", work / "builder-config.yaml", cwd=work)
        _install(work / "_build" / "otelcol-realtime", target)


def _build_jaeger(target: Path) -> None:
    module = json.loads(_run("go", "mod", "download", "-json", JAEGER_MODULE))["Dir"]
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "jaeger"
        _run("go", "build", "-o", built, "./cmd/jaeger", cwd=Path(module))
        _install(built, target)


def _build_actionlint(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _run("go", "install", ACTIONLINT_MODULE, GOBIN=folder)
        _install(Path(folder) / "actionlint", target)


def _install(built: Path, target: Path) -> None:
    """Move a finished build into place in one step: a broken build leaves nothing behind."""
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    shutil.copy2(built, part)
    part.replace(target)


COLLECTOR: Final = Binary(
    variable="OTELCOL_BIN",
    names=("otelcol-realtime", "otelcol-contrib"),
    cached_as=f"otelcol-realtime-{_digest(BUILDER_CONFIG.read_text())}",
    build=_build_collector,
)
JAEGER: Final = Binary(
    variable="JAEGER_BIN",
    names=("jaeger",),
    cached_as=f"jaeger-{JAEGER_VERSION}",
    build=_build_jaeger,
)
ACTIONLINT: Final = Binary(
    variable="ACTIONLINT_BIN",
    names=("actionlint",),
    cached_as=f"actionlint-{ACTIONLINT_VERSION}",
    build=_build_actionlint,
)
BY_NAME: Final = {"collector": COLLECTOR, "jaeger": JAEGER, "actionlint": ACTIONLINT}


def obtain(binary: Binary) -> Path:
    """Return the program's path, building it into the cache when it is nowhere.

    Raises:
        SystemExit: it has to be built and there is no Go, or the build fails.
    """
    found = binary.find()
    if found is not None:
        return found
    if shutil.which("go") is None:
        raise SystemExit(
            f"{binary.cached_as} has to be built, which needs Go (or set {binary.variable})"
        )
    target = cache_folder() / binary.cached_as
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        binary.build(target)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{binary.cached_as}: {error}") from None
    return target


def main(argv: list[str] | None = None, by_name: Mapping[str, Binary] = BY_NAME) -> int:
    """Print ``NAME=path`` of each program; build what is missing unless ``--check`` is given."""
    parser = argparse.ArgumentParser(description="Find or build the programs that tests run.")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(by_name)} (default: all)")
    parser.add_argument("--check", action="store_true", help="only look, build nothing")
    options = parser.parse_args(argv)
    unknown = [name for name in options.names if name not in by_name]
    if unknown:
        parser.error(f"no such program: {', '.join(unknown)}")
    missing = 0
    for name in options.names or by_name:
        binary = by_name[name]
        path = binary.find() if options.check else obtain(binary)
        missing += path is None
        print(f"{binary.variable}={path or ''}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
