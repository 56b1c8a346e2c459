"""LangSmith as a backend.

The root run of a conversation is posted with the runs API when it opens, and patched once when it has
ended, with the recording as an attachment. All spans below it go by OTLP, linked to it by explicit
ids. Both parts are documented:
https://docs.langchain.com/langsmith/smith-api/runs/ingest-runs-multipart
https://docs.langchain.com/langsmith/trace-with-opentelemetry
"""
