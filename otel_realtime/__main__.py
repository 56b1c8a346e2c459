"""``python -m otel_realtime``: the same as the ``otel-realtime`` command."""

import sys

from otel_realtime.cli import main

if __name__ == "__main__":
    sys.exit(main())
