"""``python -m tests.support.dying STEP command...``: the command line, killed at a step of its work."""

from __future__ import annotations

import sys

from otel_realtime import cli
from tests.recovery.victim import die_at

if __name__ == "__main__":
    die_at(sys.argv[1])
    sys.exit(cli.main(sys.argv[2:]))
