"""Kept recordings to look at: ``otel-realtime view`` serves the page over a folder or a bucket,
``otel-realtime report`` writes the page of one call as a file.

``files`` reads a folder or a bucket, ``kept`` finds the calls in it, ``server`` and ``report`` show
them with the sandbox's page.
"""

from __future__ import annotations
