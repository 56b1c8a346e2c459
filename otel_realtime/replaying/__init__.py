"""Recorded event logs as conversations: the command ``replay``.

``log`` reads a file, ``pace`` says when each of its rows was, ``sounds`` finds audio beside it,
``feed`` tells it all to a conversation by the public API, and waits wherever telemetry is slower.
"""

from __future__ import annotations
