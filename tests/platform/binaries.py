"""Finds, or builds once, the real programs of the platform's tests.

They are kept beside those of ``tests/e2e/binaries.py`` and found in the same way::

    python -m tests.platform.binaries             # build what is missing, print where all are
    python -m tests.platform.binaries promtool    # the same for one of them
    python -m tests.platform.binaries --check     # only look; exit status 1 when one is missing
"""

from __future__ import annotations

import sys
from typing import Final

from tests.e2e.binaries import Binary, main
from tests.platform.compose_plugin import COMPOSE
from tests.platform.kafka_jars import KAFKA

BY_NAME: Final[dict[str, Binary]] = {"compose": COMPOSE, "kafka": KAFKA}

if __name__ == "__main__":
    sys.exit(main(by_name=BY_NAME))
