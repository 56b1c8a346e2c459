"""Environment variables: effect, misspelt names, values that do not parse."""

from __future__ import annotations

import pytest

from otel_realtime.doctor.model import Result
from otel_realtime.doctor.variables import known, look, of_langsmith, of_settings
from otel_realtime.settings import FIELDS
from tests.support.doctor import SECRET_KEY, by_id, here


def one(process: pytest.MonkeyPatch, name: str, value: str) -> Result | None:
    """What is said of a variable with a value."""
    process.setenv(name, value)
    return by_id(look(here())).get(f"env.{name}")


def test_every_setting_has_its_variable() -> None:
    """Callables have none."""
    assert set(FIELDS) - {"redact", "on_recording"} == set(of_settings().values())


def test_the_variables_of_langsmith_are_those_that_are_read() -> None:
    """Both namespaces, and the agent's."""
    assert {"LANGSMITH_API_KEY", "LANGCHAIN_API_KEY", "LANGSMITH_AGENT_ID"} <= of_langsmith()
    assert {"LANGCHAIN_TRACING_V2", "LANGSMITH_HIDE_INPUTS"} <= of_langsmith()


@pytest.mark.parametrize(
    ("name", "value", "effect"),
    [
        ("OTEL_REALTIME_CAPTURE_CONTENT", "no", "Settings.capture_content is False"),
        ("OTEL_REALTIME_STATE_DIR", "/var/voice", "Settings.state_dir is '/var/voice'"),
        ("LANGSMITH_HIDE_INPUTS", "true", "inputs and all sound stay in this process"),
        ("LANGCHAIN_API_KEY", SECRET_KEY, "authenticates this process at LangSmith"),
    ],
)
def test_the_effect_of_a_variable(
    process: pytest.MonkeyPatch, name: str, value: str, effect: str
) -> None:
    """As the one who reads it has understood it."""
    found = one(process, name, value)
    assert found is not None
    assert ("ok", effect) == (found.status, found.effect)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LANGSMITH_APIKEY", "LANGSMITH_API_KEY"),
        ("LANGSMITH_API_KEYS", "LANGSMITH_API_KEY"),
        ("LANSMITH_API_KEY", "LANGSMITH_API_KEY"),
        ("langsmith_tracing", "LANGSMITH_TRACING"),
        ("LANGSMITH_PROJCT", "LANGSMITH_PROJECT"),
        ("OTEL_REALTIME_CAPTURE_CONTEN", "OTEL_REALTIME_CAPTURE_CONTENT"),
        ("OTEL_REALTME_STATE_DIR", "OTEL_REALTIME_STATE_DIR"),
        ("OTEL_EXPORTER_OTLP_ENDPONT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ],
)
def test_a_misspelt_name_is_found(process: pytest.MonkeyPatch, name: str, meant: str) -> None:
    """Its value may be a credential, and is not shown."""
    found = one(process, name, SECRET_KEY)
    assert found is not None
    assert ("warn", "set", f"did you mean {meant}?") == (found.status, found.seen, found.fix)


@pytest.mark.parametrize(
    "name",
    [
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
        "OTEL_PYTHON_DJANGO_EXCLUDED_URLS",
        "OTEL_BSP_SCHEDULE_DELAY",
        "LANGSMITH_OTEL_ENABLED",
        "LANGUAGE_AND_REGION",
        "HOME_OF_SOMEBODY",
    ],
)
def test_names_of_others_are_no_slips(process: pytest.MonkeyPatch, name: str) -> None:
    """Near to one of ours, or in a neighbour's family."""
    found = one(process, name, "1")
    assert found is None or found.status == "info"


def test_a_setting_that_is_none_is_said(process: pytest.MonkeyPatch) -> None:
    """Nothing is near to it."""
    found = one(process, "OTEL_REALTIME_COLOUR", "red")
    assert found is not None
    assert ("warn", "there is no such setting") == (found.status, found.effect)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("OTEL_REALTIME_SPAN_LIMIT", "many", "using the default, 24000"),
        ("OTEL_REALTIME_LANGSMITH", "perhaps", "expected one of auto, direct, collector, off"),
        ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "maybe", "expected true or false"),
        ("LANGSMITH_TRACING", "sure", "expected true or false"),
        ("LANGSMITH_TRACING_SAMPLING_RATE", "2", "expected a number from 0 to 1"),
        ("LANGCHAIN_ENDPOINT", "smith", "is not an http(s) URL"),
    ],
)
def test_a_value_that_does_not_parse(
    process: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    """In the words that an app's log would have, though it was said before."""
    here()
    found = one(process, name, value)
    assert found is not None
    assert "warn" == found.status
    assert why in found.effect
    assert f"correct or unset {name}" == found.fix


def test_half_an_agents_address_is_said(process: pytest.MonkeyPatch) -> None:
    """It is about two variables at once."""
    process.setenv("LANGSMITH_AGENT_ID", "clerk")
    found = by_id(look(here()))["env.environment"]
    assert "LANGSMITH_AGENT_ENVIRONMENT" in found.seen


def test_which_namespace_wins(process: pytest.MonkeyPatch) -> None:
    """LangSmith's client prefers the newer one."""
    process.setenv("LANGSMITH_PROJECT", "new")
    process.setenv("LANGCHAIN_PROJECT", "old")
    assert "LANGSMITH_PROJECT wins" == by_id(look(here()))["env.LANGCHAIN_PROJECT"].effect


def test_an_empty_variable_counts_as_unset(process: pytest.MonkeyPatch) -> None:
    """As for LangSmith's client."""
    found = one(process, "LANGSMITH_API_KEY", " ")
    assert found is not None
    assert ("info", "counts as unset") == (found.status, found.effect)


def test_credentials_are_not_shown(process: pytest.MonkeyPatch) -> None:
    """Their length is, and the names of headers."""
    process.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer {SECRET_KEY},x=1")
    found = one(process, "LANGSMITH_API_KEY", SECRET_KEY)
    assert found is not None
    assert f"[secret], {len(SECRET_KEY)} characters" == found.seen
    headers = by_id(look(here()))["env.OTEL_EXPORTER_OTLP_HEADERS"]
    assert "headers authorization, x" == headers.seen


def test_several_endpoints_of_langsmith_are_not_followed(process: pytest.MonkeyPatch) -> None:
    """Its own client does."""
    found = one(process, "LANGSMITH_RUNS_ENDPOINTS", "[]")
    assert found is not None
    assert "conversations go to LANGSMITH_ENDPOINT only" in found.effect


def test_a_limit_that_breaks_json(process: pytest.MonkeyPatch) -> None:
    """The SDK cuts blindly."""
    found = one(process, "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100")
    assert found is not None
    assert "warn" == found.status


def test_what_the_sdk_lists_is_known() -> None:
    """No list of ours can be as long."""
    assert {"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_PROPAGATORS", "OTEL_TRACES_EXPORTER"} <= known()
