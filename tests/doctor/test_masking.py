"""No credential of the environment is shown, whatever it looks like and wherever it comes back."""

from __future__ import annotations

import json

import pytest

from otel_realtime.credentials import SECRET
from otel_realtime.doctor.masking import Mask

PLAIN = "winter-garden-42"


@pytest.mark.parametrize(
    "env",
    [
        {"LANGSMITH_API_KEY": PLAIN},
        {"LANGCHAIN_API_KEY": f' "{PLAIN}" '},
        {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{PLAIN},a=b"},
        {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"x-tenant={PLAIN}"},
        {"HTTPS_PROXY": f"http://user:{PLAIN}@proxy:3128"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": f"https://{PLAIN}@collector:4318"},
        {"LANGSMITH_RUNS_ENDPOINTS": json.dumps([{"api_url": "https://a", "api_key": PLAIN}])},
        {"LANGSMITH_RUNS_ENDPOINTS": json.dumps({"https://a": PLAIN})},
        {"DB_PASSWORD": PLAIN},
        {"LANGSMITH_KEE": PLAIN},
    ],
    ids=lambda env: next(iter(env)),
)
def test_every_value_that_is_a_credential_is_known(env: dict[str, str]) -> None:
    """Also under a misspelt name of our namespaces."""
    mask = Mask(env, frozenset({"LANGSMITH_PROJECT"}))
    assert f"the server said: no {SECRET}!" == mask(f"the server said: no {PLAIN}!")


def test_what_only_looks_like_one_is_replaced_too() -> None:
    """By the table of all credentials."""
    assert f"key {SECRET}" == Mask({})("key sk-abcdefghijklmnop1234")


@pytest.mark.parametrize(
    "env",
    [{"LANGSMITH_PROJECT": PLAIN}, {"PWD": PLAIN}, {"LANGSMITH_API_KEY": "any"}, {"HOME": PLAIN}],
    ids=lambda env: next(iter(env)),
)
def test_other_values_stay(env: dict[str, str]) -> None:
    """The working directory, a project, and words too short to be looked for."""
    mask = Mask(env, frozenset({"LANGSMITH_PROJECT"}))
    assert f"any {PLAIN}" == mask(f"any {PLAIN}")
