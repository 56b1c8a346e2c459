"""Removes credentials from output: by their known shapes, and by the values in this environment.

A server may return the key that it was sent, a proxy's address may hold a password, and a key of an
unknown shape looks like any other word. So the text is also searched for the values themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from otel_realtime.credentials import SECRET, names_secret, without_secrets

#: Shorter values are ignored, because they can be parts of ordinary words.
_SHORTEST: Final = 6
#: Variables that hold a list of headers, or JSON with keys in it.
_HEADERS: Final = "HEADERS"
_ENDPOINTS: Final = "RUNS_ENDPOINTS"
#: Working directories of a shell, whose names look like those of passwords.
_NO_SECRETS: Final = frozenset({"PWD", "OLDPWD"})
#: Prefixes of names; the values of unknown variables with these are treated as credentials.
_OURS: Final = ("OTEL_", "LANGSMITH_", "LANGCHAIN_")


class Mask:
    """Removes credentials from texts.

    Args:
        env: the environment that holds them.
        known: names of variables whose values are not credentials, unless their names say so.
    """

    def __init__(self, env: Mapping[str, str], known: frozenset[str] = frozenset()) -> None:
        found = {secret for name, text in env.items() for secret in _secrets(name, text, known)}
        # The longest first, because one value may be part of another.
        self._secrets = sorted((s for s in found if len(s) >= _SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return a text without credentials."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, SECRET)
        return without_secrets(text)


def _secrets(name: str, text: str, known: frozenset[str]) -> Iterator[str]:
    bare = text.strip().strip("\"'").strip()
    if name in _NO_SECRETS:
        return
    if names_secret(name) or (name.startswith(_OURS) and known and name not in known):
        yield bare
    if name.endswith(_HEADERS):
        for pair in bare.split(","):
            _, _, value = pair.partition("=")
            for form in (value.strip(), unquote(value.strip())):
                yield form
                yield from form.split(" ")[1:]  # after ``Bearer``
    if name.endswith(_ENDPOINTS):
        yield from _texts(bare)
    if "://" in bare:
        yield from _of_url(bare)


def _of_url(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    for part in (parts.username, parts.password):
        if part:
            yield part
            yield unquote(part)


def _texts(text: str) -> Iterator[str]:
    """Yield the texts in a JSON value that are not URLs; the text itself if it is not JSON."""
    try:
        value: Any = json.loads(text)
    except ValueError:
        yield text
        return
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str) and not one.startswith(("http://", "https://")):
            yield one
