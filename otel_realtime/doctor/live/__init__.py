"""``otel-realtime doctor --live``: asks LangSmith itself what its documentation leaves open.

``questions`` has the points; ``experiment`` writes one trace as a call is delivered, with the same
requests; ``reading`` reads it back with LangSmith's own client; ``answers`` compares the two.
``command`` asks before, and prints. Nothing is deleted.
"""
