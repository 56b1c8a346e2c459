"""LangSmith: ids and stamping of spans, the runs API for root runs, and our own OTLP exporter.

The root run of a conversation is posted when it opens and patched once at its end, with the
recording as its attachment; everything under it goes by OTLP, linked by explicit ids.
"""
