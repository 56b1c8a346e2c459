"""Recognises credentials, by the name of a value and by the shape of any text.

There is one table of names, both for the keys of JSON objects and for ``name=value`` in text. Names are
compared without case and separators, so one entry covers every spelling: ``api_key``, ``apiKey``,
``API-KEY``, ``x-api-key``, ``openai.api.key``.

The following are replaced in text, in this order:

1. keys and tokens of a well-known shape (``sk-...``, ``ek_...``, a JSON web token);
2. the user and the query of a URL, except for the query's :data:`QUERY_KEYS`;
3. what follows ``Bearer`` or ``Basic``;
4. the value of a name from the table: in JSON, a Python repr, a header, a query, an XML element, or a
   command-line option.

A word alone is not a credential: "your token has expired" stays, and so do ``max_output_tokens`` and all
other token counts. If a colon follows a plain English word ("the secret: patience"), the value must look
like a credential to be replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

#: Replaces a credential.
SECRET: Final = "[secret]"
#: Keys of a query that may be kept; the others can hold credentials.
QUERY_KEYS: Final = frozenset({"model", "deployment", "intent", "call_id", "api-version"})

#: Endings of a credential's name, in lower case and without separators.
ENDINGS: Final = (
    "apikey", "apikeys", "accesskey", "accesskeyid", "secretkey", "privatekey", "signingkey",
    "encryptionkey", "subscriptionkey", "accountkey", "sharedkey", "masterkey", "sessionkey",
    "sshkey", "licensekey", "ephemeralkey", "servicekey",
    "token", "accesstokens", "refreshtokens", "authtokens",
    "secret", "secrets", "password", "passwords", "passwd", "passphrase", "passcode", "pwd",
    "authorization", "credential", "credentials", "cookie", "cookies",
)  # fmt: skip
#: Names that must match as a whole, because as an ending of another name they mean something else.
WHOLE: Final = frozenset(
    {
        "auth", "basicauth", "httpauth", "proxyauth", "jwt", "bearer", "headers",
        "extraheaders", "requestheaders", "httpheaders", "defaultheaders", "additionalheaders",
        "customheaders", "rawheaders", "connectionstring",
    }
)  # fmt: skip
#: Names that match ``ENDINGS`` but are not credentials: pagination tokens, and tokens of a model.
_INNOCENT: Final = (
    "pagetoken", "nexttoken", "prevtoken", "previoustoken", "continuationtoken", "firsttoken",
    "lasttoken", "pertoken", "stoptoken", "endtoken", "eostoken", "bostoken", "padtoken",
    "unktoken", "masktoken", "septoken", "clstoken", "specialtoken", "inputtoken", "outputtoken",
    "texttoken", "audiotoken", "cachedtoken", "maxtoken", "mintoken",
)  # fmt: skip
#: Suffixes that do not change the meaning of a name: ``client_secret.value``, ``password2``.
_TAIL: Final = re.compile(
    r"(?:value|header|string|hash|raw|plain|plaintext|base64|b64|confirm|confirmation|\d+)+\Z"
)
_SEPARATORS: Final = re.compile(r"[\W_]+")
#: Names that are also English words, where a colon may introduce plain text.
_WORDS: Final = frozenset(
    {
        "token", "secret", "secrets", "password", "passwords", "passphrase", "passcode", "auth",
        "authorization", "credential", "credentials", "cookie", "cookies", "bearer",
    }
)  # fmt: skip
#: Number of characters of a name that are checked; of a longer name, only its end.
_NAME_LENGTH: Final = 64

#: Keys and tokens with a recognisable shape: OpenAI, xAI, LangSmith, and JSON web tokens (RFC 7519).
_SHAPES: Final = re.compile(
    r"\b(?:ek_[A-Za-z0-9_-]{8,}"
    r"|sk-(?:[A-Za-z0-9_-]{16,}|(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{8,})"
    r"|xai-[A-Za-z0-9_-]{16,}"
    r"|lsv2_(?:pt|sk)_[A-Za-z0-9_]{8,}"
    r"|(?<![\w-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*)"
)
# A text without any of these hints needs no regular expression. Each test costs about as much as one
# character in five, on every event of a call, so there are few of them, and the single-character tests,
# which are almost free, come first.
_SHAPE_HINTS: Final = ("ek_", "lsv2_", "eyJ")
_DASHED_SHAPE_HINTS: Final = ("sk-", "xai-")
#: The same for names and schemes, in lower case; ``_says_token`` looks for ``token``.
_NAME_HINTS: Final = (
    "key", "secret", "pass", "pwd", "auth", "cookie", "credential", "bearer", "basic", "jwt",
    "headers", "connection",
)  # fmt: skip
#: What follows a URL's scheme; JSON may escape a slash.
_URL_HINT, _ESCAPED_URL_HINT = "://", "\\/"
#: A URL, without the punctuation that ends a sentence.
_URL: Final = re.compile(
    r"(\b[A-Za-z][A-Za-z0-9+.-]{0,31}:\\*/\\*/)((?:[^\s\"'<>`\\]|\\+/)+)(?<![.,:;!?)])"
)
_SLASH: Final = re.compile(r"(\\*/)")
#: A value after its scheme; if the scheme is in lower case, or ``Basic``, it must not be an English word.
_NOT_A_WORD: Final = r"(?=[\w.~+/=-]*(?:[\d_+/=~]|[a-z][A-Z]))[\w.~+/=-]{6,}"
#: Excludes words that follow a scheme's name in a sentence about it ("a Bearer token is needed").
_ABOUT: Final = (
    r"(?!(?i:tokens?|auth|authentication|authorization|schemes?|headers?|realm|error|format|prefix)"
    r"(?![\w~+/=-]))"
)
_SCHEME: Final = re.compile(
    rf"\b(?:(Bearer|BEARER)((?:\s|%20)+){_ABOUT}[\w.~+/=-]{{4,}}"
    rf"|((?i:bearer|basic))((?:\s|%20)+){_NOT_A_WORD})",
    re.ASCII,
)
#: A name (or two words that form one), up to the start of its value.
_NAMED: Final = re.compile(
    r"(?<![\w.-])"
    r"((?:(?i:api|access|secret|private|refresh|auth|client|bearer|ephemeral)\x20)?\w[\w.-]*)"
    r"(\\*[\"']|%22)?\s*(=>|[:=]|%3[AaDd])\s*"
)
#: A command-line option with its value.
_OPTION: Final = re.compile(r"(?<!\S)(--)([\w.-]{2,64})(\s+)(?!-)[^\s\"']+")
_ELEMENT: Final = re.compile(r"<([\w.:-]{1,64})(?:\s[^<>]{0,256})?>([^<>]+)(?=</)")
#: A pair of a header's name and value, in Python's repr.
_PAIR: Final = re.compile(r"\((b?[\"'])([\w.-]{1,64})[\"'],\s*(b?[\"'])([^\"'\\]+)(?=[\"']\))")
_QUOTE: Final = re.compile(r"[bru]?(\\*[\"']|%22)")
_SCHEMES: Final = r"(?:(?i:Bearer|Basic|Token|ApiKey|Negotiate)\s+)?"
_BARE: Final = re.compile(_SCHEMES + r"[^\s\"'<>&]+")
_BARE_IN_JSON: Final = re.compile(r"[^\s\"'<>&,}\]]+")
_LINE: Final = re.compile(r"[^\r\n]+")
#: Credentials with parameters, which reach to the end of the line:
#: https://www.rfc-editor.org/rfc/rfc9110#section-11.4
_TO_LINE_END: Final = re.compile(r"[\w-]{1,32}\s+[\w-]{1,32}=[\w\"']", re.ASCII)
_LOOKS_SECRET: Final = re.compile(
    r"(?i:bearer|basic|token|apikey|negotiate)\s+\S|[\w-]+=\S|" + _NOT_A_WORD, re.ASCII
)
_COOKIE: Final = re.compile(r"[\w.-]{1,64}=")
_LITERAL: Final = re.compile(r"(?i:null|none|true|false|undefined)\b")
_CLOSING: Final = {"{": "}", "[": "]", "(": ")", "<": ">"}
#: Types of a JSON schema, which describes a credential but does not contain one: https://json-schema.org
_SCHEMA_TYPES: Final = frozenset(
    {"string", "object", "array", "number", "integer", "boolean", "null"}
)
_SCHEMA_LINKS: Final = frozenset({"$ref", "anyOf", "oneOf", "allOf"})
#: Keys of a schema whose values may be an example of the credential.
SCHEMA_VALUES: Final = frozenset({"default", "const", "example", "examples", "enum"})
_SCHEMA: Final = re.compile(
    r"\\*[\"'](?:\$ref|anyOf|oneOf|allOf|"
    r"type\\*[\"']\s*:\s*\\*[\"'](?:" + "|".join(sorted(_SCHEMA_TYPES)) + r"))\\*[\"']"
)
#: In text, a schema is recognised within this many characters from its start.
_SCHEMA_BEGINS: Final = 256


def names_secret(name: object) -> bool:
    """Return whether a value of this name is a credential, in any spelling and case of the name."""
    return isinstance(name, str) and _names_secret(name[-_NAME_LENGTH:])


@lru_cache(maxsize=4096)
def _names_secret(name: str) -> bool:
    joined = _SEPARATORS.sub("", name).lower()
    for form in (joined, _TAIL.sub("", joined)):
        if form in WHOLE or (form.endswith(ENDINGS) and not form.endswith(_INNOCENT)):
            return True
    return False


def is_schema(value: Mapping[str, Any]) -> bool:
    """Return whether an object with a credential's name is a JSON schema for the credential."""
    kind = value.get("type")
    typed = isinstance(kind, list) or (isinstance(kind, str) and kind in _SCHEMA_TYPES)
    return "value" not in value and (typed or not _SCHEMA_LINKS.isdisjoint(value))


def may_hold_secret(text: str, lowered: str) -> bool:
    """Return False only if :func:`without_secrets` certainly changes nothing.

    Args:
        text: Any text, or the JSON text in which it is a string.
        lowered: ``text`` in lower case.
    """
    for hint in _SHAPE_HINTS:
        if hint in text:
            return True
    if "-" in text and any(hint in text for hint in _DASHED_SHAPE_HINTS):
        return True
    for hint in _NAME_HINTS:
        if hint in lowered:
            return True
    return _holds_url(text) or _says_token(lowered)


def _holds_url(text: str) -> bool:
    return _URL_HINT in text or ("\\" in text and _ESCAPED_URL_HINT in text)


def _says_token(lowered: str) -> bool:
    """Return whether "token" occurs other than in the name of a token count."""
    if "token" not in lowered:
        return False
    counts = lowered.count("tokens") + lowered.count("token_details")
    return lowered.count("token") > counts or "access" in lowered or "refresh" in lowered


def without_secrets(text: str) -> str:
    """Return a text without credentials; the same object if it contains none.

    Args:
        text: Any text: speech, an error message, a stack trace, JSON, a header, a URL.
    """
    if len(text) < 6:
        return text
    lowered = text.lower()
    if not may_hold_secret(text, lowered):
        return text
    cleaned = _SHAPES.sub(SECRET, text)
    if _holds_url(text):
        cleaned = _URL.sub(_clean_url, cleaned)
    if "bearer" in lowered or "basic" in lowered:
        cleaned = _SCHEME.sub(_keep_scheme, cleaned)
    if "=" in text or ":" in text or "%3" in text:
        cleaned = _without_named(cleaned)
    if "--" in text:
        cleaned = _OPTION.sub(_clean_option, cleaned)
    if "('" in text or "(b'" in text:
        cleaned = _PAIR.sub(_clean_pair, cleaned)
    if "</" in text:
        cleaned = _ELEMENT.sub(_clean_element, cleaned)
    return cleaned


def _keep_scheme(found: re.Match[str]) -> str:
    return f"{found[1] or found[3]}{found[2] or found[4]}{SECRET}"


def _clean_element(found: re.Match[str]) -> str:
    if not names_secret(found[1]) or not found[2].strip():
        return found[0]
    return found[0][: found.start(2) - found.start()] + SECRET


def _clean_option(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}{found[3]}{SECRET}" if names_secret(found[2]) else found[0]


def _clean_pair(found: re.Match[str]) -> str:
    if not names_secret(found[2]):
        return found[0]
    return found[0][: found.start(4) - found.start()] + SECRET


def _clean_url(found: re.Match[str]) -> str:
    """Return a URL without its user, and with only the :data:`QUERY_KEYS` of its query."""
    rest, fragment_mark, fragment = found[2].partition("#")
    rest, query_mark, query = rest.partition("?")
    authority, *path = _SLASH.split(rest, maxsplit=1)
    user, at, host = authority.rpartition("@")
    if at and user != SECRET:
        user = SECRET
    kept = "&".join(pair for pair in query.split("&") if pair.partition("=")[0] in QUERY_KEYS)
    if "=" in fragment:  # OAuth's implicit grant (RFC 6749, section 4.2.2)
        fragment_mark = fragment = ""
    mark = query_mark if kept else ""
    return f"{found[1]}{user}{at}{host}{''.join(path)}{mark}{kept}{fragment_mark}{fragment}"


def _without_named(text: str) -> str:
    """Replace the values that have a name of the table."""
    pieces: list[str] = []
    done = at = 0
    while (found := _NAMED.search(text, at)) is not None:
        at = found.end()
        if not names_secret(found[1]):
            continue
        span = _value(text, found)
        if span is None:
            continue
        start, end, replacement = span
        pieces += (text[done:start], replacement)
        done = at = end
    if not pieces:
        return text
    return "".join((*pieces, text[done:]))


def _value(text: str, found: re.Match[str]) -> tuple[int, int, str] | None:
    """Return the start and end of a value and its replacement; None if there is nothing to replace."""
    name, close, separator, at = found[1], found[2], found[3], found.end()
    joined = _SEPARATORS.sub("", name).lower()
    if text.startswith(SECRET, at) or at >= len(text) or _LITERAL.match(text, at):
        return None
    quote = _QUOTE.match(text, at)
    if quote is not None:
        end = _end_of_quoted(text, quote)
        inner = text[quote.end() : end]
        return None if inner in ("", SECRET) else (quote.end(), end, SECRET)
    opening = text[at]
    if opening in _CLOSING:
        if joined.endswith("headers") or (opening in "{[" and (close or separator == "=")):
            if _SCHEMA.search(text, at, at + _SCHEMA_BEGINS):
                return None
            end = _end_of_bracketed(text, at)
            return (
                None
                if end - at <= 2
                else (at, end, SECRET if close is None else f"{close}{SECRET}{close}")
            )
        return None
    if joined.endswith("headers"):  # "headers: none"
        return None
    if close is not None:
        bare = _BARE_IN_JSON.match(text, at)
        return None if bare is None else (at, bare.end(), f"{close}{SECRET}{close}")
    cookie = joined.endswith(("cookie", "cookies")) and _COOKIE.match(text, at)
    if cookie or (joined.endswith("authorization") and _TO_LINE_END.match(text, at)):
        whole = _LINE.match(text, at)
        return None if whole is None else (at, whole.end(), SECRET)
    if separator == ":" and (joined in _WORDS or " " in name) and not _LOOKS_SECRET.match(text, at):
        return None
    bare = _BARE.match(text, at)
    return None if bare is None else (at, bare.end(), SECRET)


def _end_of_quoted(text: str, quote: re.Match[str]) -> int:
    """Return the end of a quoted value, or the end of the text if the value is cut off.

    In JSON nested in JSON, a quote is preceded by backslashes, and the closing quote by as many.
    """
    mark = quote[1]
    end = text.find(mark, quote.end())
    while end > 0 and _is_escaped(text, end, deeper=len(mark) > 1):
        end = text.find(mark, end + 1)
    return len(text) if end < 0 else end


def _is_escaped(text: str, at: int, *, deeper: bool) -> bool:
    backslashes = 0
    while at > backslashes and text[at - 1 - backslashes] == "\\":
        backslashes += 1
    return backslashes > 0 if deeper else backslashes % 2 == 1


def _end_of_bracketed(text: str, at: int) -> int:
    """Return where the bracket at a position closes, or the end of the text if it never does."""
    opening, closing, depth = text[at], _CLOSING[text[at]], 0
    for place in re.finditer(f"[{re.escape(opening + closing)}]", text[at:]):
        depth += 1 if place[0] == opening else -1
        if depth == 0:
            return at + place.end()
    return len(text)
