"""Exports calls as files for evaluation tools: the command ``export``.

``sources`` finds a call and its recording, wherever they are; ``files`` writes the exported files.
"""

from __future__ import annotations
