"""The sample tool."""

from __future__ import annotations

import json
import re

import pytest

from otel_realtime.talk.tools import TOOLS, call_tool


def test_the_declared_tool_is_the_one_that_runs() -> None:
    """Here, and in a time zone."""
    (tool,) = TOOLS
    for arguments in ("", "{}", '{"time_zone": null}', '{"time_zone": "Europe/Paris"}'):
        result = json.loads(call_tool(tool["name"], arguments))
        assert {"date", "time", "zone"} == set(result)
        assert re.fullmatch(r"\d\d:\d\d", result["time"])
    assert result["zone"] in ("CET", "CEST")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("get_weather", "{}", "there is no tool 'get_weather'"),
        ("get_time", "{", "the arguments are not understood"),
        ("get_time", "[]", "the arguments are not understood"),
        ("get_time", '{"time_zone": "Mars/Base"}', "there is no time zone 'Mars/Base'"),
        ("get_time", '{"time_zone": "../etc"}', "there is no time zone '../etc'"),
        ("get_time", '{"time_zone": "Europe"}', "there is no time zone 'Europe'"),
        ("get_time", '{"time_zone": 7}', "there is no time zone 7"),
    ],
)
def test_the_model_is_told_what_is_wrong(name: str, arguments: str, message: str) -> None:
    """So that it can say so; nothing is raised."""
    assert message in json.loads(call_tool(name, arguments))["error"]
