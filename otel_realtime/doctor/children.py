"""Runs Python code in a separate process, so that its imports, output and threads end with that process.

The child runs without ``opentelemetry-instrument``, which would start the app's telemetry in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

_INSTRUMENT: Final = os.path.join("opentelemetry", "instrumentation", "auto_instrumentation")


class ChildError(Exception):
    """The child gave no usable result; the message says why."""


def run_child(
    code: str, *arguments: str, timeout_s: float, env: Mapping[str, str] | None = None
) -> Any:
    """Run code that prints JSON, and return the parsed value.

    Args:
        code: the Python code.
        *arguments: its ``sys.argv[1:]``.
        timeout_s: longest duration, in seconds.
        env: variables to add to the environment, or to replace there.

    Raises:
        ChildError: it took too long, failed, or printed no JSON.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env={**_environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise ChildError(f"no answer within {timeout_s:.3g} s") from None
    except OSError as error:
        raise ChildError(str(error)) from error
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ChildError(last[:200]) from None


def _environment() -> dict[str, str]:
    env = dict(os.environ)
    path = [one for one in env.get("PYTHONPATH", "").split(os.pathsep) if one]
    env["PYTHONPATH"] = os.pathsep.join(_without(path))
    return env


def _without(path: Sequence[str]) -> list[str]:
    return [one for one in path if not one.rstrip(os.sep).endswith(_INSTRUMENT)]
