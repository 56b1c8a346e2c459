"""A small OTLP/gRPC server that stands where a backend is and writes down what reaches it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as handlers

from tests.support.otlp_recorder import Request, Span, spans_of
from tests.support.waiting import wait_for


class GrpcRecorder(handlers.TraceServiceServicer):
    """Accepts every export.

    Attributes:
        requests: what came, with gRPC's metadata as headers.
        endpoint: ``host:port``.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._server = grpc.server(ThreadPoolExecutor(2))
        handlers.add_TraceServiceServicer_to_server(self, self._server)
        self.endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> GrpcRecorder:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0)

    def Export(self, request: Any, context: Any) -> Any:
        """Take one request."""
        headers = {key: str(value) for key, value in context.invocation_metadata()}
        size = request.ByteSize()
        self.requests.append(
            Request(
                headers=headers,
                wire_bytes=size,
                decoded_bytes=size,
                spans=tuple(spans_of(request)),
            )
        )
        return service.ExportTraceServiceResponse()

    def wait(self, count: int, *, timeout_s: float = 20) -> list[Span]:
        """Wait until at least ``count`` spans came and return them all."""
        wait_for(lambda: len(self.spans()) >= count, f"{count} spans", timeout_s=timeout_s)
        return self.spans()

    def spans(self) -> list[Span]:
        """Every span that came so far."""
        return [span for request in list(self.requests) for span in request.spans]
