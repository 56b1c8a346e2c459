"""Represents one call as one JSON object, built from its spans, for exports, sidecars and pages.

``schema`` defines its members (``call.schema.json`` is the same for other languages), ``rows`` defines
the input, and ``from_spans`` builds the object. ``captions`` and ``transcript`` turn it into text.
Everything here is pure, without I/O.
"""

from __future__ import annotations
