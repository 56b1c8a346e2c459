"""``otel-realtime doctor --live``: tests LangSmith where its documentation leaves questions open.

``questions`` lists the questions. ``experiment`` writes one trace with the same requests as a call;
``reading`` reads it back with LangSmith's own client; ``answers`` compares the two. ``command`` asks for
permission first, and prints the answers. Nothing is deleted.
"""
