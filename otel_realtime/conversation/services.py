"""The one process, and its observer of sockets, for what the app calls."""

from __future__ import annotations

from typing import Final

from otel_realtime.conversation.sockets import Sockets
from otel_realtime.process.process import PROCESS

__all__ = ["PROCESS", "SOCKETS"]

SOCKETS: Final = Sockets(PROCESS)
