"""Chooses the Realtime API: OpenAI's, Azure's, one at any address, or the scripted server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from otel_realtime.credentials import without_secrets
from otel_realtime.errors import ConfigError

OPENAI_URL: Final = "https://api.openai.com/v1"
MODEL: Final = "gpt-realtime"
AZURE_HOSTS: Final = (
    ".openai.azure.com",
    ".cognitiveservices.azure.com",
    ".services.ai.azure.com",
)
#: The path of Azure's v1 API: https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
AZURE_PATH: Final = "/openai/v1"
_WEBSOCKET: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_ENDING: Final = "/realtime"
_NO_URL: Final = "the address of a Realtime API is expected, such as wss://HOST/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Realtime API.

    Attributes:
        name: its name, for the screen.
        url: base URL for ``websocket_base_url``; the client appends ``/realtime``. Empty for the
            scripted server, which is not running yet.
        key: the API key.
        key_variable: the environment variable that it comes from, if any.
        headers: further headers of the handshake.
        scripted: whether it is the scripted server of this package.
    """

    name: str
    url: str = ""
    key: str = "none"
    key_variable: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    scripted: bool = False


SCRIPTED: Final = Service(name="the scripted server on this machine", scripted=True)


def choose_service(env: Mapping[str, str], *, url: str | None, scripted: bool) -> Service:
    """Return the API that the options and the environment name.

    Without an address, it is OpenAI's if there is a key for it, otherwise Azure's if there is a key
    for that, otherwise the scripted server.

    Args:
        env: the environment.
        url: the address that the user gave.
        scripted: whether the user asked for the scripted server.

    Raises:
        ConfigError: the options contradict each other, the address is not valid, or there is a key for
            Azure but no endpoint.
    """
    if scripted:
        if url is not None:
            raise ConfigError(
                f"--url {url!r} and --scripted contradict each other: give one of them"
            )
        return SCRIPTED
    keys = {name: env.get(name, "").strip() for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY")}
    if url is not None:
        parts = _parsed(url, "--url")
        preferred = (
            ("AZURE_OPENAI_API_KEY", "OPENAI_API_KEY") if _is_azure(parts) else ("OPENAI_API_KEY",)
        )
        variable = next((name for name in preferred if keys[name]), None)
        return _at(parts, keys[variable] if variable else "none", variable)
    if keys["OPENAI_API_KEY"]:
        base = env.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL
        return _at(_parsed(base, "OPENAI_BASE_URL"), keys["OPENAI_API_KEY"], "OPENAI_API_KEY")
    endpoint = env.get("AZURE_OPENAI_ENDPOINT", "").strip()
    if keys["AZURE_OPENAI_API_KEY"]:
        if not endpoint:
            raise ConfigError(
                "AZURE_OPENAI_API_KEY is set, but not AZURE_OPENAI_ENDPOINT: set it to "
                "https://YOUR-RESOURCE.openai.azure.com, or give --url"
            )
        parts = _parsed(endpoint, "AZURE_OPENAI_ENDPOINT")
        return _at(parts, keys["AZURE_OPENAI_API_KEY"], "AZURE_OPENAI_API_KEY", azure=True)
    return SCRIPTED


def _parsed(url: str, source: str) -> SplitResult:
    shown = without_secrets(url)
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{source} {shown!r} is no URL ({error}): {_NO_URL}") from None
    if parts.scheme not in _WEBSOCKET or not parts.hostname:
        raise ConfigError(f"{source} {shown!r} is no URL of ws, wss, http or https: {_NO_URL}")
    if parts.query or parts.fragment:
        raise ConfigError(
            f"{source} {shown!r}: leave out what follows '?' or '#'; --model says which model"
        )
    return parts


def _is_azure(parts: SplitResult) -> bool:
    return (parts.hostname or "").endswith(AZURE_HOSTS)


def _at(parts: SplitResult, key: str, variable: str | None, *, azure: bool = False) -> Service:
    path = parts.path.rstrip("/").removesuffix(_ENDING)
    is_azure = azure or _is_azure(parts)
    if is_azure and path in ("", "/openai"):
        path = AZURE_PATH
    url = urlunsplit((_WEBSOCKET[parts.scheme], parts.netloc, path, "", ""))
    host = parts.hostname or ""
    known = (
        "OpenAI" if host == "api.openai.com" else f"Azure OpenAI at {host}" if is_azure else host
    )
    headers = {"api-key": key} if is_azure and variable else {}
    return Service(name=known, url=url, key=key, key_variable=variable, headers=headers)
