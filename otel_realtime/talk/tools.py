"""The sample tool: returns the time of day, which a model cannot know by itself."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

TOOLS: Final[list[dict[str, Any]]] = [
    {
        "type": "function",
        "name": "get_time",
        "description": "Tell the date and the time of day, here or in a time zone.",
        "parameters": {
            "type": "object",
            "properties": {
                "time_zone": {"type": "string", "description": "IANA name, such as Europe/Paris."}
            },
            "additionalProperties": False,
        },
    }
]


def get_time(time_zone: str | None = None) -> dict[str, object]:
    """Return the date and the time of day, here or in a time zone (IANA name)."""
    try:
        zone = ZoneInfo(time_zone) if time_zone else None
    except (KeyError, ValueError, TypeError, OSError):  # varies with the invalid name
        return {"error": f"there is no time zone {time_zone!r}"}
    now = datetime.now(zone).astimezone(zone)
    return {
        "date": now.strftime("%A, %d %B %Y"),
        "time": now.strftime("%H:%M"),
        "zone": now.tzname(),
    }


def call_tool(name: str, arguments: str) -> str:
    """Run a tool that the model called; return the JSON text of its result, or of its error."""
    if name != "get_time":
        return json.dumps({"error": f"there is no tool {name!r}"})
    try:
        given = json.loads(arguments or "{}")
        result = get_time(given.get("time_zone"))
    except (ValueError, AttributeError) as error:  # not JSON, or not an object
        result = {"error": f"the arguments are not understood: {error}"}
    return json.dumps(result)
