"""Checks LangSmith: whether it answers, accepts the key, and which project and workspace are used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from otel_realtime.attributes import LEG_DIRECT
from otel_realtime.diagnostics import overheard
from otel_realtime.doctor.clock import skew
from otel_realtime.doctor.model import Result, Surroundings
from otel_realtime.doctor.probe import Reply, send
from otel_realtime.langsmith.config import LegChoice, agent_of
from otel_realtime.langsmith.route import choose
from otel_realtime.langsmith.statuses import KEY_REFUSED, Verdict, judge

_ENDPOINT: Final = "LANGSMITH_ENDPOINT"
_WAITS: Final = (
    "conversations wait under state_dir, and are not in LangSmith until that is corrected"
)
_GZIP: Final = {"Content-Type": "application/x-protobuf"}


def choice(here: Surroundings) -> LegChoice:
    """Return who delivers a conversation to LangSmith, if LangSmith's sampling rate does not drop it."""
    with overheard():  # `variables` and `topology` report the warnings
        return choose(here.settings, here.config, None, draw=0.0)


def look(here: Surroundings) -> Iterator[Result]:
    """Query LangSmith's API: ``GET /info``, the project with the key, and an empty OTLP request."""
    config, title, chosen = here.config, "LangSmith's API", choice(here)
    if not chosen.root_by_runs_api:
        why = "no API key" if not config.api_key else "not asked for"
        yield Result(
            id="langsmith.api",
            title=title,
            status="info",
            seen=f"not used by this process: {why}",
        )
        return
    third_s = here.timeout_s / 3
    info = send("GET", config.api_url + "/info", {}, timeout_s=third_s)
    problem = _problem(info, "langsmith.api", title, f"{config.address}: ")
    if problem is not None:
        yield problem
        return
    if info.status == 200 and isinstance(info.json, dict):
        version = info.json.get("version", "?")
        seen = f"{config.address} answers, version {version}{info.through}"
        yield Result(id="langsmith.api", title=title, status="ok", seen=seen)
    else:
        yield Result(
            id="langsmith.api",
            title=title,
            status="warn",
            seen=f"{config.address} answers, but not as LangSmith does: {info}",
            fix=f"check {_ENDPOINT}: {_hint()}",
        )
    yield from skew("clock.langsmith", "LangSmith", info)
    yield from _key(here, third_s)
    if chosen.leg == LEG_DIRECT:
        yield _spans(here, third_s)


def _key(here: Surroundings, timeout_s: float) -> Iterator[Result]:
    config, title = here.config, "LangSmith's key"
    agent = agent_of(config.project)
    query = "" if agent else "&name=" + quote(config.project, safe="")
    url = f"{config.api_url}/sessions?limit=1{query}"
    reply = send("GET", url, config.headers(), timeout_s=timeout_s)
    if reply.status in KEY_REFUSED:
        yield _refused(reply, "langsmith.key", title)
        return
    problem = _problem(reply, "langsmith.key", title, missing_is_fine=True)
    if problem is not None:
        yield problem
        return
    if reply.status != 200 or not isinstance(reply.json, list):
        yield Result(
            id="langsmith.key",
            title=title,
            status="warn",
            seen=f"neither accepted nor refused: {reply}",
            effect="nothing is known of the key",
            fix="try it: otel-realtime doctor --live",
        )
        return
    yield Result(id="langsmith.key", title=title, status="ok", seen="accepted")
    yield from _project(here, reply.json, timeout_s)


def _project(here: Surroundings, found: list[Any], timeout_s: float) -> Iterator[Result]:
    config = here.config
    agent = agent_of(config.project)
    known = [one for one in found if isinstance(one, dict)]
    if agent is not None:
        seen, effect = f"agent {agent[0]}, {agent[1]}", "only LangSmith knows its project"
    elif any(one.get("name", config.project) == config.project for one in known):
        seen, effect = f"{config.project!r} exists", ""
    else:
        seen = f"{config.project!r} does not exist yet"
        effect = "the first conversation makes it"
    yield Result(
        id="langsmith.project",
        title="LangSmith's project",
        status="ok" if not effect else "info",
        seen=seen,
        effect=effect,
    )
    if not known:  # any project names the workspace of the key
        url = f"{config.api_url}/sessions?limit=1"
        reply = send("GET", url, config.headers(), timeout_s=timeout_s)
        known = [one for one in reply.json or () if isinstance(one, dict)]
    tenants = [str(one["tenant_id"]) for one in known if one.get("tenant_id")]
    yield _workspace(config.workspace_id, tenants)


def _workspace(wanted: str | None, tenants: list[str]) -> Result:
    title = "LangSmith's workspace"
    if not tenants:
        seen = f"{wanted}, as LANGSMITH_WORKSPACE_ID says" if wanted else "the key's own"
        return Result(id="langsmith.workspace", title=title, status="info", seen=seen)
    if wanted and wanted.lower() != tenants[0].lower():
        return Result(
            id="langsmith.workspace",
            title=title,
            status="warn",
            seen=f"{tenants[0]}, not {wanted}, which LANGSMITH_WORKSPACE_ID names",
            effect="runs go to another workspace than the variable names",
            fix="use a key of that workspace, or unset LANGSMITH_WORKSPACE_ID",
        )
    return Result(id="langsmith.workspace", title=title, status="ok", seen=tenants[0])


def _spans(here: Surroundings, timeout_s: float) -> Result:
    """Send an empty request to the OTLP endpoint, which the read requests do not test."""
    config, title = here.config, "LangSmith's OTLP endpoint"
    headers = {**config.headers(), **config.otlp_destination(), **_GZIP}
    reply = send("POST", config.otlp_traces_url, headers, timeout_s=timeout_s, body=b"")
    if reply.status in KEY_REFUSED:
        return _refused(reply, "langsmith.otlp", title)
    problem = _problem(reply, "langsmith.otlp", title)
    if problem is not None:
        return problem
    if reply.status is not None and reply.status // 100 == 2:
        return Result(
            id="langsmith.otlp", title=title, status="ok", seen=f"takes requests{reply.through}"
        )
    return Result(
        id="langsmith.otlp",
        title=title,
        status="info",
        seen=f"answers an empty request with {reply}",
        effect="it is there; whether it takes spans is known when there are some",
    )


def _refused(reply: Reply, id_: str, title: str) -> Result:
    return Result(
        id=id_,
        title=title,
        status="fail",
        seen=f"refused: {reply}",
        effect="conversations go without LangSmith's run and recording; what is on disk waits",
        fix=judge(reply.status).reason.partition("; ")[2],
    )


def _problem(
    reply: Reply, id_: str, title: str, where: str = "", *, missing_is_fine: bool = False
) -> Result | None:
    """Return what is wrong with an address, judged by its response; ``None`` if nothing is."""

    def fails(seen: str, fix: str) -> Result:
        seen = where + seen
        return Result(id=id_, title=title, status="fail", seen=seen, effect=_WAITS, fix=fix)

    if reply.status is None:
        return fails(str(reply), reply.fix)
    if reply.redirect:
        fix = f"set {_ENDPOINT} to where it leads: no redirect is followed with a key"
        return fails(str(reply), fix)
    if reply.status == 404 and not missing_is_fine:
        return fails(str(reply), f"check {_ENDPOINT}: {_hint()}")
    if reply.is_page and reply.status < 500:
        return fails(str(reply), f"{_ENDPOINT} is that of a web site, not of the API: {_hint()}")
    if judge(reply.status).verdict is Verdict.RETRY:
        return fails(str(reply), "wait, and look at LangSmith's status page")
    return None


def _hint() -> str:
    return (
        "LangSmith's own are https://api.smith.langchain.com and https://eu.api.smith.langchain.com; "
        "a self-hosted one ends in /api/v1"
    )
