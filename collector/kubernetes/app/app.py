"""A stand-in for your voice app: POST /call holds one call in writing, GET /healthz says that it runs.

Traced by two lines. On SIGTERM it takes no further calls, lets those that go on finish, and writes what there
is: with OTEL_REALTIME_DELIVER=worker nobody waits for LangSmith.
"""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from openai import OpenAI

import otel_realtime

otel_realtime.configure()
otel_realtime.instrument()

#: Seconds for a call that goes on when the pod is told to stop, and then for writing; the sidecar's grace and
#: these are less than terminationGracePeriodSeconds.
LAST_CALLS_S = float(os.environ.get("LAST_CALLS_S", "60"))
WRITE_S = 10.0
busy = threading.Semaphore(100)


def hold_a_call() -> str:
    """Ask one question, return the answer."""
    url = os.environ.get("OPENAI_WEBSOCKET_URL")
    client = OpenAI(websocket_base_url=url) if url else OpenAI()
    content = [{"type": "input_text", "text": "Say hello."}]
    said = ""
    with client.realtime.connect(model="gpt-realtime") as connection:
        connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": content}
        )
        connection.response.create()
        for event in connection:
            if event.type == "response.output_audio_transcript.done":
                said = event.transcript
            elif event.type == "response.done":
                break
    return said


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(200 if self.path == "/healthz" else 404, "")

    def do_POST(self) -> None:
        with busy:
            self.answer(200, hold_a_call())

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


server = Server(("0.0.0.0", int(os.environ.get("PORT", "8080"))), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
for _ in range(100):  # calls that go on
    busy.acquire(timeout=LAST_CALLS_S)
sys.exit(0 if otel_realtime.shutdown(WRITE_S) else 1)
