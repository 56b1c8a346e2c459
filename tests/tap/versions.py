"""What the installed openai and websockets can do; the tap works with those that cannot."""

from __future__ import annotations

import openai
import pytest
import websockets

OPENAI = tuple(int(part) for part in openai.__version__.split(".")[:2])
WEBSOCKETS = int(websockets.__version__.split(".")[0])

ga = pytest.mark.skipif(OPENAI < (1, 103), reason="no GA module in this openai")
events = pytest.mark.skipif(OPENAI < (2, 32), reason="no handlers, no reconnect in this openai")
keeps_unread = pytest.mark.skipif(
    WEBSOCKETS < 14, reason="this websockets discards unread frames of a lost socket"
)
takes_text = pytest.mark.skipif(WEBSOCKETS < 14, reason="no send(text=) in this websockets")
