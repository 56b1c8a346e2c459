"""Calls as files for whatever evaluates them: the command ``export``.

``sources`` finds a call and its recording, wherever they are; ``files`` writes them down.
"""

from __future__ import annotations
