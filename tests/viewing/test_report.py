"""What stands in a report file; what a browser makes of it: tests/page/test_report.py."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from pathlib import Path

import pytest

from otel_realtime.errors import RecordingError
from otel_realtime.viewing.files import files_of
from otel_realtime.viewing.kept import KeptCalls
from otel_realtime.viewing.report import report
from tests.support import kept_call


def made(folder: Path) -> str:
    html = report(KeptCalls(files_of(str(folder), folder)), "call-1", {})
    assert html is not None
    return html


def test_its_policy_names_its_own_script_and_style(tmp_path: Path) -> None:
    """By their hashes: nothing else runs."""
    kept_call.keep(tmp_path, kept_call.call_object(), None)
    html = made(tmp_path)
    for kind, element in (("script", '<script type="module">'), ("style", "<style>")):
        content = html.split(element)[1].split(f"</{kind}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in html
    assert not re.search(r"""(src|href)=["'](?!data:)""", html.split("<script")[0])


def test_text_cannot_leave_its_element(tmp_path: Path) -> None:
    """No `<` of a call's stands in the file."""
    evil = "</script><script>alert(1)</script><!--"
    kept_call.keep(tmp_path, kept_call.call_object(name=evil, metadata={evil: evil}), None)
    html = made(tmp_path)
    assert evil not in html
    assert html.count("<script") == 2


def test_without_the_encoder_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written then."""
    kept_call.keep(tmp_path, kept_call.call_object())
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(RecordingError, match=r"otel-realtime\[audio-formats\]"):
        made(tmp_path)
    assert {"call-1.json", "call-1.wav"} == {path.name for path in tmp_path.iterdir()}
