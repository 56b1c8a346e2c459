"""One call as one JSON object, built from its spans: what exports, sidecars and pages show.

``schema`` says what stands in it (and ``call.schema.json`` the same for other languages), ``rows``
is what it is built from, ``from_spans`` builds it. ``captions`` and ``transcript`` write its words
down. Everything here is pure.
"""

from __future__ import annotations
