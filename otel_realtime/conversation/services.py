"""The process and its observer of sockets, as used by the functions that the app calls."""

from __future__ import annotations

from typing import Final

from otel_realtime.conversation.sockets import Sockets
from otel_realtime.process.process import PROCESS

__all__ = ["PROCESS", "SOCKETS"]

#: Opens conversations on tapped sockets.
SOCKETS: Final = Sockets(PROCESS)
