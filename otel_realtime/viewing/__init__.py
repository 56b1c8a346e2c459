"""Shows kept recordings: ``otel-realtime view`` and ``otel-realtime report``.

``view`` serves the page for a folder or a bucket; ``report`` writes the page of one call as a file.
``files`` reads a folder or a bucket, ``kept`` finds the calls in it, ``server`` and ``report`` show
them with the sandbox's page.
"""

from __future__ import annotations
