"""Replays recorded event logs as conversations: the command ``replay``.

``log`` reads a file, ``pace`` determines the time of each row, and ``sounds`` finds audio beside the
log. ``feed`` passes it all to a conversation through the public API, and waits when telemetry is slower.
"""

from __future__ import annotations
