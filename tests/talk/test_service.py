"""Which Realtime API is called, by the options and the environment."""

from __future__ import annotations

import pytest

from otel_realtime.errors import ConfigError
from otel_realtime.talk.service import SCRIPTED, Service, choose_service

OPENAI = {"OPENAI_API_KEY": "sk-1"}
AZURE = {"AZURE_OPENAI_API_KEY": "az-1", "AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com/"}
AZURE_SERVICE = Service(
    name="Azure OpenAI at mine.openai.azure.com",
    url="wss://mine.openai.azure.com/openai/v1",
    key="az-1",
    key_variable="AZURE_OPENAI_API_KEY",
    headers={"api-key": "az-1"},
)


def test_without_a_key_it_is_the_scripted_server() -> None:
    """An empty variable is no key; and whoever asks for the script gets it."""
    assert SCRIPTED == choose_service({"OPENAI_API_KEY": " "}, url=None, scripted=False)
    assert SCRIPTED == choose_service(OPENAI, url=None, scripted=True)


def test_openai() -> None:
    """Before Azure, if there are keys for both; the SDK's own variable moves it."""
    expected = Service(
        name="OpenAI",
        url="wss://api.openai.com/v1",
        key="sk-1",
        key_variable="OPENAI_API_KEY",
    )
    assert expected == choose_service({**OPENAI, **AZURE}, url=None, scripted=False)
    moved = choose_service(
        {**OPENAI, "OPENAI_BASE_URL": "http://gw:8080/v1/"}, url=None, scripted=False
    )
    assert ("gw", "ws://gw:8080/v1") == (moved.name, moved.url)


@pytest.mark.parametrize(
    "url", [None, "https://mine.openai.azure.com", "wss://mine.openai.azure.com/openai/v1/realtime"]
)
def test_azure(url: str | None) -> None:
    """By its two variables, or by its address; the path of its v1 API is added."""
    assert AZURE_SERVICE == choose_service(AZURE, url=url, scripted=False)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://127.0.0.1:8000/v1", "ws://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1/realtime", "ws://127.0.0.1:8000/v1"),
        ("https://example.com", "wss://example.com"),
        (" wss://[::1]:9/v1/ ", "wss://[::1]:9/v1"),
    ],
)
def test_any_url(url: str, expected: str) -> None:
    """Of HTTP or WebSocket, with the path that the client appends, or without it."""
    found = choose_service({}, url=url, scripted=False)
    assert (expected, "none", None) == (found.url, found.key, found.key_variable)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("example.com", "--url 'example.com' is no URL of ws, wss, http or https"),
        ("", "--url '' is no URL"),
        ("ws:///v1", "--url 'ws:///v1' is no URL"),
        ("ws://host:port/v1", r"--url 'ws://host:port/v1' is no URL \(Port could not be cast"),
        ("wss://host/v1?model=x", r"--url 'wss://host/v1\?model=x': leave out what follows"),
    ],
)
def test_what_is_no_url(url: str, message: str) -> None:
    """The value, what is wrong with it, and what is expected."""
    with pytest.raises(ConfigError, match=message):
        choose_service(OPENAI, url=url, scripted=False)


def test_contradictions() -> None:
    """Both are named."""
    with pytest.raises(ConfigError, match="--url 'ws://h' and --scripted contradict"):
        choose_service({}, url="ws://h", scripted=True)
    with pytest.raises(ConfigError, match="but not AZURE_OPENAI_ENDPOINT"):
        choose_service({"AZURE_OPENAI_API_KEY": "k"}, url=None, scripted=False)
