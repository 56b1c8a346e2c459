"""An identity provider for the tests: discovery, its public key, and tokens signed with the other one."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support.certificates import Pair


class Issuer:
    """Serves OpenID Connect Discovery by HTTPS on the loopback interface.

    Specification: https://openid.net/specs/openid-connect-discovery-1_0.html

    Args:
        pair: its certificate, for 127.0.0.1.
    """

    def __init__(self, pair: Pair) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Issuer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self.close()

    def close(self) -> None:
        """Close the socket of one that was never started."""
        self._server.server_close()

    def token(self, *, expires_in_s: float = 600, **claims: Any) -> str:
        """Return a signed token (JWT, RS256): https://www.rfc-editor.org/rfc/rfc7519

        Args:
            expires_in_s: seconds from now to its end.
            claims: in the place of, or beside, its ``iss``, ``sub`` and ``aud``.
        """
        now = int(time.time())
        payload = {
            "iss": self.url,
            "sub": "voice",
            "aud": "otel-collector",
            "iat": now,
            "exp": now + int(expires_in_s),
            **claims,
        }
        header = {"alg": "RS256", "typ": "JWT", "kid": "one"}
        signed = ".".join(_url64(json.dumps(part).encode()) for part in (header, payload))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_url64(signature)}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = issuer._page(self.path)
                body = json.dumps(found).encode()
                self.send_response(200 if found is not None else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output quiet."""

        return Handler

    def _page(self, path: str) -> dict[str, Any] | None:
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "jwks_uri": f"{self.url}/keys",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        if path == "/keys":
            numbers = self._key.public_key().public_numbers()
            shared = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one"}
            return {"keys": [{**shared, "n": _number(numbers.n), "e": _number(numbers.e)}]}
        return None


def _number(value: int) -> str:
    return _url64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
