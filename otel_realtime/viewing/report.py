"""One call as one HTML file: the page, the call object, peaks and the recording as Ogg Opus.

It is opened from a disk, sent by mail or attached to a ticket: it loads nothing, and its policy lets
nothing but its own script and style run.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from otel_realtime.delivery.attachments import encode as encode_audio
from otel_realtime.errors import RecordingError
from otel_realtime.sandbox.model import JsonObject
from otel_realtime.sandbox.page_api import STATIC_FILES, CallSource, page_of
from otel_realtime.sandbox.peaks import LEVELS_MS, Peaks
from otel_realtime.sandbox.rows import encode

#: The finest level is left out: it is as large as all others together, and the page does without.
_FIRST_LEVEL: Final = 1
_SIDES: Final = 2
_FONT: Final = re.compile(r"url\(/static/([\w.-]+\.woff2)\)")
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{script_hash}'; \
style-src '{style_hash}'; font-src data:; media-src blob:; connect-src blob: data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>Call</title>
<style>{style}</style>
</head>
<body>
<div id="page"></div>
<noscript>This report requires JavaScript. It is a file of its own and loads nothing.</noscript>
<script type="application/json" id="report">{data}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def report(
    source: CallSource, call_id: str, links: Mapping[str, str], *, sound: bool = True
) -> str | None:
    """Return the page of a call as HTML; None if there is no such call.

    Args:
        source: where the call comes from.
        call_id: its id.
        links: see ``sandbox.page_api.link_templates``.
        sound: False leaves its recording out, as of one that cannot be read.

    Raises:
        RecordingError: the recording cannot be encoded as Opus: the extra is missing, say.
        OSError: the recording or a file of the page cannot be read.
        ValueError: the recording is no audio that can be read here.
    """
    page = page_of(source, call_id, links)
    if page is None:
        return None
    page["has_spans"] = False
    recording = source.recording(call_id) if sound else None
    data: JsonObject = {"page": page, "peaks": {}, "audio": None}
    if recording is None:
        page["call"]["recording"] = None
    else:
        with TemporaryDirectory(prefix="otel-realtime-") as folder:
            # First: it names the file if that is no audio, where the encoder names a link to it.
            data["peaks"] = _peaks(recording[0], Path(folder))
            data["audio"] = _audio(*recording, Path(folder))
    script, style = _script(), _style()
    return _PAGE.format(
        script_hash=_hash(script),
        style_hash=_hash(style),
        style=style,
        script=script,
        # Within a script element only `</` and `<!--` have a meaning; no `<` is left.
        data=encode(data).replace("<", "\\u003c"),
    )


def _audio(recording: Path, mime: str, folder: Path) -> dict[str, Any]:
    path = recording
    if mime != "audio/ogg":
        # The encoder writes beside what it reads, and a folder of recordings is not ours.
        link = folder / f"recording{recording.suffix}"
        link.symlink_to(recording.resolve())
        path = encode_audio(_stereo(link), "opus")
    return {"mime": "audio/ogg", "base64": b64encode(path.read_bytes()).decode("ascii")}


def _peaks(recording: Path, folder: Path) -> dict[str, str]:
    peaks = Peaks(folder / "peaks")
    try:
        return {
            str(level): b64encode(peaks.read(recording, level)).decode("ascii")
            for level in range(_FIRST_LEVEL, len(LEVELS_MS))
        }
    except ValueError:  # samples of 24 bits, say: they can be heard
        return {}


def _stereo(recording: Path) -> Path:
    """Return a recording with two channels: one has the user's side only, further ones are left out."""
    try:
        import soundfile

        with soundfile.SoundFile(recording) as source:
            if source.channels == _SIDES:
                return recording
            made = recording.with_name("stereo.wav")
            with soundfile.SoundFile(made, "w", source.samplerate, _SIDES, "PCM_16") as target:
                for block in source.blocks(source.samplerate, dtype="int16", always_2d=True):
                    two = np.zeros((len(block), _SIDES), np.int16)
                    two[:, : source.channels] = block[:, :_SIDES]
                    target.write(two)
    except (ImportError, OSError):
        return recording  # the encoder says why
    except soundfile.SoundFileError as error:
        raise RecordingError(f"{recording.name} cannot be read as a recording: {error}") from error
    return made


def _script() -> str:
    script = (STATIC_FILES / "page.js").read_text(encoding="utf-8")
    # In a string of the script this is the same text; outside of one it does not occur.
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _style() -> str:
    style = (STATIC_FILES / "page.css").read_text(encoding="utf-8")
    return _FONT.sub(lambda found: f"url({_data_url(STATIC_FILES / found[1])})", style)


def _data_url(font: Path) -> str:
    return f"data:font/woff2;base64,{b64encode(font.read_bytes()).decode('ascii')}"


def _hash(text: str) -> str:
    """Return the source expression of an inline element: https://www.w3.org/TR/CSP3/#grammardef-hash-source"""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode('ascii')}"
