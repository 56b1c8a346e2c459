"""One table of names and shapes: every spelling in every place a text can hold one, and what stays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from otel_realtime.core.protocol.redaction import needs_scrub, scrub
from otel_realtime.credentials import QUERY_KEYS, SECRET, names_secret, without_secrets

#: Names of credentials as servers, SDKs and apps write them.
NAMES = (
    "authorization", "X-API-Key", "api-key", "api_key", "apiKey", "access_token", "refresh_token",
    "id_token", "token", "auth_token", "client_secret", "clientSecret", "client-secret",
    "client_secret.value", "password", "secret", "secret_key", "private_key", "credentials",
    "cookie", "Set-Cookie", "Proxy-Authorization", "OPENAI_API_KEY", "openai.api.key",
    "Ocp-Apim-Subscription-Key", "githubToken", "db_password", "passphrase",
)  # fmt: skip


def _spellings(name: str) -> set[str]:
    """A name in every case and with every separator."""
    snake = name.replace("-", "_").replace(".", "_")
    words = [word for word in snake.lower().split("_") if word]
    camel = words[0] + "".join(word.title() for word in words[1:])
    forms = {name, snake, snake.replace("_", "-"), camel, camel[0].upper() + camel[1:]}
    return forms | {form.upper() for form in forms} | {form.lower() for form in forms}


SPELLINGS = sorted({form for name in NAMES for form in _spellings(name)})
PLANTED = "planted-QXJ5-hunter2"
#: Where a name and its value stand in a text.
IN_TEXT: dict[str, Callable[[str], str]] = {
    "json": lambda name: json.dumps({"a": [{name: PLANTED}]}),
    "json in json": lambda name: json.dumps(json.dumps({name: PLANTED})),
    "json in prose": lambda name: f'the server said {{"{name}": "{PLANTED}"}} and left',
    "cut json": lambda name: f'{{"q": 1, "{name}": "{PLANTED}',
    "cut json in json": lambda name: json.dumps(f'{{"{name}": "{PLANTED}", "q": 1}}')[1:-8],
    "repr": lambda name: f"refused: { ({name: PLANTED})!r}",
    "pair": lambda name: f"headers were [{(name, PLANTED)!r}]",
    "bytes": lambda name: f"{ ({name.encode(): PLANTED.encode()})!r}",
    "assignment": lambda name: f"called with {name}={PLANTED} twice",
    "keyword": lambda name: f"connect({name}='{PLANTED}', retries=3)",
    "header": lambda name: f"GET / HTTP/1.1\r\n{name}: {PLANTED}\r\nHost: x",
    "query": lambda name: f"/v1/realtime?model=m&{name}={PLANTED}&n=1 failed",
    "url": lambda name: f"cannot open wss://host/x?{name}={PLANTED}",
    "element": lambda name: f"<a><{name}>{PLANTED}</{name}></a>",
    "option": lambda name: f"curl --{name} {PLANTED} --retry 3",
    "encoded": lambda name: f"body=%7B%22{name}%22%3A%22{PLANTED}%22%7D",
    "object": lambda name: f'{{"{name}": {{"value": "{PLANTED}", "expires_at": 1}}}}',
}


@pytest.mark.parametrize("place", IN_TEXT)
def test_every_spelling_in_every_place_of_a_text(place: str) -> None:
    """The value goes, the name stays, doing it twice changes nothing more."""
    for name in SPELLINGS:
        text = IN_TEXT[place](name)
        once = without_secrets(text)
        assert PLANTED not in once, (name, text, once)
        assert once == without_secrets(once)
        stored = scrub({"type": "x", "text": text})["text"]
        assert PLANTED not in stored
        assert stored == scrub({"text": stored})["text"]
        assert needs_scrub(json.dumps({"type": "x", "text": text}))


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_as_a_key(name: str) -> None:
    """Whatever it holds: text, a number, an object, a list; and as a header's pair."""
    for value in (PLANTED, 4711_0815, {"value": PLANTED}, [PLANTED], {"a": {"b": PLANTED}}):
        event: dict[str, Any] = {"type": "x", "deep": [{name: value}]}
        assert {"type": "x", "deep": [{name: SECRET}]} == scrub(event)
        assert needs_scrub(json.dumps(event))
    assert {"name": name, "value": SECRET} == scrub({"name": name, "value": PLANTED})


@pytest.mark.parametrize("place", ["arguments", "output"])
def test_json_in_a_string_stays_json(place: str) -> None:
    """Tools' arguments and results: by structure, at any nesting."""
    inner = {"q": 1, "clientSecret": PLANTED, "list": [{"Authorization": f"Bearer {PLANTED}"}]}
    text = json.dumps({"outer": json.dumps({"again": json.dumps(inner)}), "ok": "é"})
    stored = json.loads(scrub({place: text})[place])
    again = json.loads(json.loads(stored["outer"])["again"])
    assert {"q": 1, "clientSecret": SECRET, "list": [{"Authorization": SECRET}]} == again
    assert "é" == stored["ok"]


def test_a_key_that_stands_twice_hides_nothing() -> None:
    """JSON's parser keeps the last one only."""
    assert PLANTED not in scrub({"a": f'{{"token": "{PLANTED}", "token": ""}}'})["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:hunter2@host:1/a/b", "https://[secret]@host:1/a/b"),
        ("https://hunter2@host", "https://[secret]@host"),
        ("see wss://h/v1?model=m&x=hunter2", "see wss://h/v1?model=m"),
        ("postgres://u:hunter2@db/x?sslmode=off", "postgres://[secret]@db/x"),
        ("https://h/cb#access_token=hunter2", "https://h/cb"),
        ("https://h/page#top", "https://h/page#top"),
        ("https://h/?hunter2", "https://h/"),
        (r"https:\/\/u:hunter2@h\/x?a=b", r"https:\/\/[secret]@h\/x"),
        ("https://example.org/a.png", "https://example.org/a.png"),
    ],
)
def test_a_url_keeps_neither_user_nor_query(text: str, expected: str) -> None:
    """Of a query only what says which model and which call it was."""
    assert expected == without_secrets(text)
    assert needs_scrub(json.dumps({"a": text})) or expected == text


def test_what_is_kept_of_a_query() -> None:
    """Five keys, and the end of the sentence that the URL stands in."""
    assert {"model", "deployment", "intent", "call_id", "api-version"} == QUERY_KEYS
    kept = "&".join(f"{key}=v" for key in sorted(QUERY_KEYS))
    assert f"(wss://h/v1?{kept}). It" == without_secrets(
        f"(wss://h/v1?a=hunter2&{kept}&b=hunter2). It"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Bearer hunter2",
        "bearer hunter2x",
        "BEARER hunter",
        "I sent Bearer planted-abc, and it refused",
        "Basic aHVudGVyMjp4",
        "Authorization: Basic hunter2:x",
        "Authorization: Digest username=\"a\", response=\"hunter2\"",
        "Authorization: AWS4-HMAC-SHA256 Credential=hunter2/a, SignedHeaders=b, Signature=hunter2",
        'proxy-authorization: Signature keyId="a",signature="hunter2"',
        "Bearer token-hunter2",
        "Cookie: a=hunter2; b=hunter2",
        "authorization=Bearer%20hunter2",
        "Incorrect API key provided: sk-hunter2x.",
        "key sk-proj-hunterhunterhunter",
        "ek_hunter2x was used",
        "xai-hunterhunterhunter",
        "lsv2_pt_hunter2hunter2",
        "eyJhbGciOiJIUzI1.eyJzdWIiOiJodW50ZXIy.hunter2",
        "password: hunter2",
        'headers={"X-Own": "hunter2"}',
        "<CIMultiDictProxy('Authorization': 'hunter2', 'X-Own': 'a')>",
    ],
)  # fmt: skip
def test_a_credential_goes_out_of_any_text(text: str) -> None:
    """By its scheme, its looks, or the name before it."""
    assert "hunter" not in without_secrets(text).lower()
    assert needs_scrub(json.dumps({"a": text}))


STAY: tuple[Any, ...] = (
    "The word token alone is a word, and so is password.",
    "my secret: patience",
    "a bearer of news, and a basic understanding",
    "Authorization: required",
    "a Bearer token is needed; use Bearer authentication.",
    "your token has expired at 10:30",
    "the author said: the cookie tastes fine",
    {"max_output_tokens": "inf", "max_response_output_tokens": 4096},
    {"usage": {"total_tokens": 9, "input_tokens": 5, "output_tokens": 4, "cached_tokens": 1}},
    {"input_token_details": {"text_tokens": 1, "cached_tokens_details": {"audio_tokens": 2}}},
    {"rate_limits": [{"name": "tokens", "limit": 9, "remaining": 7, "reset_seconds": 1.5}]},
    {"tokens": 7, "token_type": "bearer", "token_count": 3, "next_page_token": "abc"},
    {"time_to_first_token": 0.3, "ms_per_token": 4},
    {"prompt_cache_key": "k", "public_key": "p", "key": "c-sharp", "keys": ["a"]},
    {"author": "x", "authority": "y", "secretary": "z", "passenger": "Ann", "monkey": 1},
    {"password": "", "token": None, "api_key": True, "secret": False},
    {"parameters": {"properties": {"token": {"type": "string", "description": "of the user"}}}},
    {"required": ["token", "password"]},
    '{"properties": {"api_key": {"type": ["string", "null"]}}, "required": ["api_key"]}',
    "call_id: call_abc123, item_id=item_abc123",
    "https://example.org/path",
)


@pytest.mark.parametrize("value", STAY, ids=str)
def test_innocent_words_stay(value: Any) -> None:
    """Counts of tokens, words of speech, names of keys, schemas, empty values."""
    assert {"type": "x", "value": value} == scrub({"type": "x", "value": value})


def test_an_example_in_a_schema_goes() -> None:
    """A tool's schema stays readable, a credential given as its default does not."""
    schema = {"type": "string", "description": "of the user", "default": PLANTED}
    stored = scrub({"properties": {"token": schema}})["properties"]["token"]
    assert {"type": "string", "description": "of the user", "default": SECRET} == stored


@pytest.mark.parametrize("name", [None, 5, "", "t" * 10_000, ("token",)])
def test_any_name_is_answered(name: object) -> None:
    """What is no text names no credential."""
    assert not names_secret(name)


HOSTILE = (
    "eyJ-" * 25_000, "a" * 200_000 + "=", 'token={"type":1 ' * 6_000, "bearer " * 20_000,
    "token: " * 20_000, "\\" * 100_000 + "key=", "key'" * 50_000, "<key>" * 30_000 + "</",
    "sk-" * 40_000, "https://" * 20_000, "key" + " " * 100_000, 'token="' * 20_000,
    "('" * 50_000 + "key:", "token={" * 10_000, "[" * 50_000 + '"token":', "a.b" * 40_000 + "key:",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:8])
def test_no_text_takes_long(text: str) -> None:
    """Linear in its length: a peer may send anything."""
    began = time.process_time()
    without_secrets(text)
    scrub({"text": text})
    assert 2.0 > time.process_time() - began
