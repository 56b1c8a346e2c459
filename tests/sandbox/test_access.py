"""Who may speak to the sandbox: its own host names, its own pages, whoever has a key; and its files."""

from __future__ import annotations

import http.client
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from otel_realtime.sandbox import Sandbox
from otel_realtime.sandbox.access import own_names
from tests.support.sandbox_client import (
    HEADERS,
    S,
    attachment_part,
    export,
    json_part,
    post_body,
    run_id,
    send_json,
    send_parts,
    wav,
)
from tests.support.waiting import wait_for

ROOT = run_id(1)
#: Everything that can be read.
READ = (
    "/", f"/conversations/{ROOT}", "/api/conversations", f"/api/conversations/{ROOT}",
    f"/api/conversations/{ROOT}/recording", f"/api/runs/{ROOT}", "/api/violations", "/api/shapes",
    f"/o/t/projects/p/p/r/{ROOT}",
)  # fmt: skip
#: LangSmith's routes that are read.
LANGSMITH = (f"/runs/{ROOT}", "/sessions", f"/api/v1/runs/{ROOT}", "/api/v1/sessions")


def ask(sandbox: Sandbox, host: str | None, path: str = "/api/conversations", **more: str) -> int:
    """The status of a request with this Host header; None: without one, as HTTP/1.0 allows."""
    address = sandbox.url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=10)
    if host is None:
        connection._http_vsn_str = "HTTP/1.0"
    connection.putrequest("GET", path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    for name, value in more.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def port_of(sandbox: Sandbox) -> str:
    return sandbox.url.rpartition(":")[2]


# -- hosts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "localhost.", "[::1]"])
@pytest.mark.parametrize("port", ["", ":1", ":{port}"])
def test_its_own_names_are_answered(sandbox: Sandbox, host: str, port: str) -> None:
    """With any port: it may be forwarded."""
    assert 200 == ask(sandbox, host + port.format(port=port_of(sandbox)))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example",
        "10.0.0.1", "169.254.169.254", "0.0.0.0", "[::2]", "", "@", "a@localhost", "localhost/x",
        "localhost:x", "localhost#", "127.1", "2130706433", "0x7f.1", "[::1", "xn--localhost-9a",
        None,
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "path", ["/", "/api/conversations", "/sessions", "/info", "/static/page.js"]
)
def test_a_foreign_host_is_misdirected(sandbox: Sandbox, host: str | None, path: str) -> None:
    """A name that a page re-bound to this machine."""
    host = host.format(port=port_of(sandbox)) if host else host
    assert ask(sandbox, host, path, x_api_key="k") in {421, 400}


def test_two_hosts_are_none(sandbox: Sandbox) -> None:
    """Nobody can tell which one the browser meant."""
    assert ask(sandbox, "evil.example", Host="localhost") in {421, 400}


def test_further_names_can_be_given(tmp_path: Path) -> None:
    """A container's, or a proxy's."""
    with Sandbox(tmp_path, names=["Sandbox.internal"]) as sandbox:
        assert 200 == ask(sandbox, "sandbox.internal:1984")
        assert 421 == ask(sandbox, "sandbox")


def test_which_names_are_its_own() -> None:
    """Of the address that it listens on; on all addresses also the machine's name."""
    assert {"localhost", "127.0.0.1", "::1"} == own_names("127.0.0.1")
    assert {"10.0.0.5"} == own_names("10.0.0.5")
    assert {"localhost", "127.0.0.1", "::1", os.uname().nodename.lower(), "box"} == (
        own_names("0.0.0.0", ["BOX"])
    )


# -- origins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:{port}", 200),
        ("https://localhost:{port}", 200),
        ("http://LOCALHOST:{port}", 200),
        ("http://localhost", 403),
        ("http://localhost:3000", 403),
        ("http://127.0.0.1:{port}", 403),  # not the host that was asked
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
        ("file://", 403),
    ],
)
def test_only_its_own_pages_are_answered(sandbox: Sandbox, origin: str, status: int) -> None:
    """Another page of the same machine is another page."""
    port = port_of(sandbox)
    host, origin = f"localhost:{port}", origin.format(port=port)
    assert status == ask(sandbox, host, Origin=origin)


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "OPTIONS", "GET"])
def test_a_foreign_page_changes_nothing(sandbox: Sandbox, method: str) -> None:
    """Neither with a form nor with a script."""
    send_json(sandbox.url, "post", post_body(ROOT))
    for path in ("/api/conversations", "/runs", "/otel/v1/traces", "/runs/batch", f"/runs/{ROOT}"):
        headers = {**HEADERS, "Origin": "https://evil.example", "Content-Type": "text/plain"}
        answer = requests.request(method, sandbox.url + path, headers=headers, timeout=10)
        assert 403 == answer.status_code
        assert "access-control-allow-origin" not in answer.headers
    assert 1 == len(sandbox.conversations())


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
        ("cross-site", "navigate", 200),
        ("cross-site", "no-cors", 403),
        ("same-site", "no-cors", 403),
    ],
)
def test_no_page_embeds_it(sandbox: Sandbox, site: str, mode: str, status: int) -> None:
    """An <audio> of another page sends no Origin; a link to it may be followed."""
    assert status == ask(sandbox, "localhost", Sec_Fetch_Site=site, Sec_Fetch_Mode=mode)


# -- keys ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with two keys, and a conversation in it."""
    with Sandbox(tmp_path_factory.mktemp("keyed"), keys=["right", "schlüssel"]) as running:
        export(running.url, S(), headers={**HEADERS, "x-api-key": "right"})
        yield running


def get(sandbox: Sandbox, path: str, headers: Mapping[str, str] | None = None) -> requests.Response:
    return requests.get(sandbox.url + path, headers=headers, timeout=10, allow_redirects=False)


@pytest.mark.parametrize("path", [*READ, *LANGSMITH])
def test_reading_takes_a_key(keyed: Sandbox, path: str) -> None:
    """If there are any: by the same header as sending."""
    for wrong in ({}, {"x-api-key": "wrong"}, {"x-api-key": ""}, {"Cookie": "a=b; ;;\x7f"}):
        assert 401 == get(keyed, path, wrong).status_code, wrong
    assert get(keyed, path, {"x-api-key": "right"}).status_code in {200, 307, 404}


def test_deleting_takes_a_key(keyed: Sandbox) -> None:
    """And a wrong one deletes nothing."""
    url = f"{keyed.url}/api/conversations"
    assert 401 == requests.delete(url, timeout=10).status_code
    assert keyed.conversations()


def test_what_holds_no_call_takes_none(keyed: Sandbox) -> None:
    """What the server is, and how its pages look."""
    for path in ("/info", "/api/v1/info", "/static/page.js", "/static/page.css"):
        assert 200 == get(keyed, path).status_code


@pytest.mark.parametrize("key", ["right", "schlüssel"])
def test_a_browser_is_asked_by_a_form(keyed: Sandbox, key: str) -> None:
    """It answers with a key, has a cookie, and sees the page; a program is told what is missing."""
    page = get(keyed, "/", {"Accept": "text/html"})
    assert (401, "text/html; charset=utf-8") == (page.status_code, page.headers["content-type"])
    assert 'action="/login"' in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]
    assert "x-api-key" in get(keyed, "/api/conversations").json()["error"]
    browser = requests.Session()
    wrong = browser.post(f"{keyed.url}/login", data={"key": "wrong"}, timeout=10)
    assert (401, 0) == (wrong.status_code, len(browser.cookies))
    browser.post(f"{keyed.url}/login", data={"key": key}, timeout=10)
    for path in ("/", "/api/conversations", f"/api/conversations/{ROOT}"):
        assert 200 == browser.get(keyed.url + path, timeout=10).status_code


def test_a_link_may_bring_the_key_once(keyed: Sandbox) -> None:
    """It is taken out of the address at once, and the cookie is not the key."""
    answer = get(keyed, f"/conversations/{ROOT}?a=1&key=right")
    assert (303, f"/conversations/{ROOT}?a=1") == (
        answer.status_code,
        answer.headers["location"],
    )
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "right" not in cookie
    given = {"Cookie": cookie.partition(";")[0]}
    assert 200 == get(keyed, f"/conversations/{ROOT}", given).status_code
    assert 401 == get(keyed, "/?key=wrong").status_code
    # Where it leads is this server, whatever the path begins with.
    assert "/evil.example" == get(keyed, "//evil.example?key=right").headers["location"]


def test_a_cookie_ends_with_its_server(keyed: Sandbox, tmp_path: Path) -> None:
    """Another one has another ticket; and it sends nothing."""
    cookie = get(keyed, "/?key=right").headers["set-cookie"].partition(";")[0]
    with Sandbox(tmp_path, keys=["right"]) as other:
        assert 401 == get(other, "/api/conversations", {"Cookie": cookie}).status_code
    headers = {"Cookie": cookie}
    assert 401 == requests.post(f"{keyed.url}/runs", headers=headers, timeout=10).status_code


def test_without_keys_nothing_is_asked_to_read(sandbox: Sandbox) -> None:
    """Any key sends, as before."""
    assert 200 == get(sandbox, "/api/conversations").status_code
    assert 404 == requests.post(f"{sandbox.url}/login", timeout=10).status_code


# -- files -----------------------------------------------------------------------------------------


def _modes(folder: Path) -> set[tuple[str, str]]:
    """Kind and mode of everything in a folder, itself included."""
    found = set()
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        found.add(("folder" if stat.S_ISDIR(mode) else "file", f"{stat.S_IMODE(mode):o}"))
    return found


@pytest.fixture
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


PRIVATE = {("folder", "700"), ("file", "600")}


@pytest.mark.usefixtures("_open_umask")
@pytest.mark.parametrize("exists", [True, False])
def test_its_files_are_private(tmp_path: Path, exists: bool) -> None:
    """Database, WAL, shared memory and attachments, also while one arrives."""
    folder = tmp_path / "data"
    if exists:
        folder.mkdir(mode=0o755)
    with Sandbox(folder) as sandbox:
        send_json(sandbox.url, "post", post_body(ROOT))
        post = json_part(f"post.{run_id(2)}", b"{}")
        send_parts(sandbox.url, post, attachment_part(run_id(2), wav()), cut=2)
        patch = json_part(f"patch.{ROOT}", f'{{"id":"{ROOT}","trace_id":"{ROOT}"'.encode() + b"}")
        send_parts(sandbox.url, patch, attachment_part(ROOT, wav()))
        wait_for(lambda: any(folder.glob("*-wal")), "the write-ahead log", timeout_s=5)
        assert {"sandbox.sqlite3", "sandbox.sqlite3-wal", "sandbox.sqlite3-shm"} <= {
            path.name for path in folder.iterdir()
        }
        assert _modes(folder) == PRIVATE
    assert _modes(folder) == PRIVATE


@pytest.mark.usefixtures("_open_umask")
def test_so_are_those_of_an_earlier_version(tmp_path: Path) -> None:
    """Which left them to the umask."""
    folder = tmp_path / "data"
    with Sandbox(folder) as sandbox:
        send_json(sandbox.url, "post", post_body(ROOT))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    with Sandbox(folder) as sandbox:
        assert 1 == len(sandbox.conversations())
        assert _modes(folder) == PRIVATE


@pytest.mark.usefixtures("_open_umask")
def test_a_folder_of_the_users_keeps_its_mode(tmp_path: Path) -> None:
    """If other things are in it; what is ours in it is private."""
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    (folder / "notes.txt").write_text("")
    (folder / "notes.txt").chmod(0o644)
    with Sandbox(folder) as sandbox:
        send_json(sandbox.url, "post", post_body(ROOT))
    assert {*PRIVATE, ("folder", "755"), ("file", "644")} == _modes(folder)
