"""Finishes what a dead process could not: its conversations, its recordings, its spans.

``sweep`` searches a state directory and takes over the data of processes that are gone; ``replay``
reads a journal back into a conversation; ``rebuild`` makes the spans that were open; ``deliver`` sends
them, the root and the recording to their destinations; and ``state.bounds`` keeps the directory within
its bounds. A conversation's folder is deleted only when everything was accepted, so an interrupted
recovery is simply repeated.
"""

from __future__ import annotations
