from __future__ import annotations

import pytest

from otel_realtime.langsmith.config import LangSmithConfig, choose_leg, is_langsmith_host


def test_defaults_without_any_variable() -> None:
    """An empty environment means LangSmith's cloud, project default, and nothing asked for."""
    config = LangSmithConfig.from_env({})
    assert config == LangSmithConfig()
    assert config.otlp_traces_url == "https://api.smith.langchain.com/otel/v1/traces"


def test_langsmith_names_win_over_langchain_names() -> None:
    """Both families are read, an empty value counts as unset."""
    env = {
        "LANGSMITH_API_KEY": "  ",
        "LANGCHAIN_API_KEY": " key\n",
        "LANGSMITH_ENDPOINT": "https://eu.api.smith.langchain.com/",
        "LANGCHAIN_ENDPOINT": "https://elsewhere",
        "LANGCHAIN_PROJECT": "voice",
        "LANGSMITH_WORKSPACE_ID": "ws",
        "LANGCHAIN_TRACING_V2": "true",
        "LANGSMITH_TRACING_SAMPLING_RATE": "0.25",
        "LANGSMITH_HIDE_INPUTS": "true",
    }
    assert LangSmithConfig.from_env(env) == LangSmithConfig(
        api_url="https://eu.api.smith.langchain.com",
        api_key="key",
        project="voice",
        workspace_id="ws",
        tracing=True,
        sampling_rate=0.25,
        hide_inputs=True,
    )


AGENT = {"LANGSMITH_AGENT_ID": "support-1", "LANGSMITH_AGENT_ENVIRONMENT": "Production"}
ADDRESS = "lrn:agents/support-1/environments/production"


def test_an_agent_can_be_addressed_instead_of_a_project(caplog: pytest.LogCaptureFixture) -> None:
    """Its headers and its field take the project's place."""
    config = LangSmithConfig.from_env(AGENT)
    assert ADDRESS == config.project
    assert {
        "Langsmith-Agent-Id": "support-1",
        "Langsmith-Agent-Environment": "production",
    } == config.otlp_destination()
    assert {"address": ADDRESS} == config.run_destination()
    assert not caplog.records
    plain = LangSmithConfig(project="voice")
    assert {"Langsmith-Project": "voice"} == plain.otlp_destination()
    assert {"session_name": "voice"} == plain.run_destination()


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"LANGSMITH_AGENT_ID": "support-1"}, "default"),
        ({"LANGSMITH_AGENT_ENVIRONMENT": "production", "LANGSMITH_PROJECT": "voice"}, "voice"),
        ({**AGENT, "LANGSMITH_AGENT_ID": "Support/1"}, "default"),
        ({**AGENT, "LANGSMITH_AGENT_ENVIRONMENT": "moon"}, "default"),
        ({**AGENT, "LANGSMITH_PROJECT": "voice"}, ADDRESS),
    ],
)
def test_half_an_address_or_one_beside_a_project_is_said_once(
    env: dict[str, str], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In one line; the conversation goes somewhere all the same."""
    assert [expected] * 2 == [LangSmithConfig.from_env(env).project for _ in range(2)]
    (record,) = caplog.records
    assert "LANGSMITH_AGENT_" in record.getMessage()


def test_bad_values_are_said_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """A flag or rate that does not parse is named in the log and counts as unset."""
    env = {"LANGSMITH_TRACING": "perhaps", "LANGSMITH_TRACING_SAMPLING_RATE": "7"}
    config = LangSmithConfig.from_env(env)
    assert (config.tracing, config.sampling_rate) == (None, None)
    assert "LANGSMITH_TRACING='perhaps'" in caplog.text
    assert "LANGSMITH_TRACING_SAMPLING_RATE='7'" in caplog.text


@pytest.mark.parametrize("side", ["INPUTS", "OUTPUTS"])
@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, False),
        ({"LANGSMITH_HIDE_": "true"}, True),
        ({"LANGCHAIN_HIDE_": "true"}, True),
        ({"LANGSMITH_HIDE_": "false", "LANGCHAIN_HIDE_": "true"}, False),
        ({"LANGSMITH_HIDE_": " ", "LANGCHAIN_HIDE_": "true"}, True),
        ({"LANGSMITH_HIDE_": "True"}, True),
        ({"LANGSMITH_HIDE_": "1"}, True),
        ({"LANGSMITH_HIDE_": "0"}, False),
        ({"LANGSMITH_HIDE_": "ture"}, True),
    ],
)
def test_a_side_is_hidden_by_either_name(side: str, env: dict[str, str], expected: bool) -> None:
    """The names and their order are LangSmith's; what cannot be read hides, too."""
    config = LangSmithConfig.from_env({name + side: value for name, value in env.items()})
    other = config.hide_outputs if side == "INPUTS" else config.hide_inputs
    hidden = config.hide_inputs if side == "INPUTS" else config.hide_outputs
    assert (expected, False) == (hidden, other)


def test_an_address_without_a_scheme_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """LANGSMITH_ENDPOINT is named when it is no address."""
    LangSmithConfig.from_env({"LANGSMITH_ENDPOINT": "api.smith.langchain.com"})
    assert "LANGSMITH_ENDPOINT='api.smith.langchain.com'" in caplog.text


def test_the_key_is_never_shown() -> None:
    """The repr has no key."""
    assert "lsv2" not in repr(LangSmithConfig(api_key="lsv2_secret"))


@pytest.mark.parametrize(
    ("api_url", "traces", "web"),
    [
        (
            "https://api.smith.langchain.com",
            "https://api.smith.langchain.com/otel/v1/traces",
            "https://smith.langchain.com",
        ),
        (
            "https://eu.api.smith.langchain.com",
            "https://eu.api.smith.langchain.com/otel/v1/traces",
            "https://eu.smith.langchain.com",
        ),
        ("https://ls.acme/api/v1", "https://ls.acme/api/v1/otel/v1/traces", "https://ls.acme"),
        ("https://ls.acme/api", "https://ls.acme/api/v1/otel/v1/traces", "https://ls.acme"),
        (
            "http://127.0.0.1:8123",
            "http://127.0.0.1:8123/otel/v1/traces",
            "http://127.0.0.1:8123",
        ),
    ],
)
def test_addresses(api_url: str, traces: str, web: str) -> None:
    """OTLP and pages are found from the API's address, in the cloud and self-hosted."""
    config = LangSmithConfig(api_url=api_url)
    assert config.otlp_traces_url == traces
    assert config.run_url("t", "id", "r") == f"{web}/o/t/projects/p/id/r/r?poll=true"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.smith.langchain.com/otel", True),
        ("https://eu.api.smith.langchain.com", True),
        ("https://smith.langchain.com", True),
        ("https://notsmith.langchain.com", False),
        ("https://smith.langchain.com.evil.example", False),
        ("http://[broken", False),
        ("", False),
    ],
)
def test_langsmith_hosts(url: str, expected: bool) -> None:
    """Only LangSmith's own cloud counts, whatever stands around its name."""
    assert is_langsmith_host(url) is expected


def test_attachment_limits() -> None:
    """180 MB in the cloud, 24 MB elsewhere, unless the setting says otherwise."""
    assert LangSmithConfig().attachment_limit() == 180_000_000
    assert LangSmithConfig(api_url="http://ls.acme").attachment_limit() == 24_000_000
    assert LangSmithConfig().attachment_limit(1.5) == 1_500_000


KEYED = {"api_key": "k"}


@pytest.mark.parametrize(
    ("setting", "given", "leg", "by_runs_api"),
    [
        ("off", {**KEYED, "tracing": True}, "none", False),
        ("direct", KEYED, "direct", True),
        ("direct", {}, "none", False),
        ("collector", KEYED, "collector", True),
        ("collector", {}, "collector", False),
        ("auto", {}, "collector", False),
        ("auto", KEYED, "collector", False),
        ("auto", {**KEYED, "tracing": False}, "none", False),
        ("auto", {**KEYED, "tracing": True}, "direct", True),
        ("auto", {"tracing": True}, "collector", False),
        ("auto", {**KEYED, "tracing": True, "sampling_rate": 0.5}, "none", False),
        ("auto", {**KEYED, "tracing": True, "sampling_rate": 0.6}, "direct", True),
    ],
)
def test_choice_of_leg(setting: str, given: dict[str, object], leg: str, by_runs_api: bool) -> None:
    """Setting, key, tracing flag and sampling rate decide who delivers."""
    choice = choose_leg(setting, LangSmithConfig(**given), draw=0.5)  # type: ignore[arg-type]
    assert (choice.leg, choice.root_by_runs_api) == (leg, by_runs_api)


@pytest.mark.parametrize(("setting", "tracing"), [("direct", None), ("auto", True)])
def test_a_missing_key_is_a_problem_with_a_name(setting: str, tracing: bool | None) -> None:
    """When delivery is asked for and no key is there, the problem names LANGSMITH_API_KEY."""
    problem = choose_leg(setting, LangSmithConfig(tracing=tracing)).problem
    assert problem is not None
    assert "LANGSMITH_API_KEY" in problem


def test_an_address_on_the_disk_has_no_password() -> None:
    """A proxy in front of LangSmith may ask for one; requests still have it."""
    config = LangSmithConfig(api_url="https://me:hunter2@proxy.example/api")
    assert "https://[secret]@proxy.example/api" == config.address
    assert "https://me:hunter2@proxy.example/api/v1/otel/v1/traces" == config.otlp_traces_url
