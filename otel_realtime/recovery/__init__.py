"""Finishing what a process that died could not: its conversations, its recordings, its spans.

``sweep`` looks through a state directory and takes over what belongs to processes that are gone;
``replay`` reads a journal back into a conversation, ``rebuild`` makes the spans that were open,
``deliver`` brings them, the root and the recording to where they were meant to go, and
``state.bounds`` keeps the directory within its bounds. A conversation's folder is deleted only when
everything was accepted, so whatever is interrupted here is simply done again.
"""

from __future__ import annotations
