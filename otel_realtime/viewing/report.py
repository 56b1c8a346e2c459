"""Writes one call as one HTML file: the page, the call object, peaks and the recording as Ogg Opus.

The file can be opened from a disk, sent by mail or attached to a ticket. It loads nothing, and its
content security policy allows only its own script and style.
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

#: The finest level is left out: it is larger than all others together, and the page does not need it.
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
        sound: False leaves out the recording, for example one that cannot be read.

    Raises:
        RecordingError: the recording cannot be encoded as Opus, for example without the extra.
        OSError: the recording or a file of the page cannot be read.
        ValueError: the recording is not in a format that can be read here.
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
            # Peaks come first: if the file is not audio, their error names it, but the encoder's error
            # names a link to it.
            data["peaks"] = _peaks(recording[0], Path(folder))
            data["audio"] = _audio(*recording, Path(folder))
    script, style = _script(), _style()
    return _PAGE.format(
        script_hash=_hash(script),
        style_hash=_hash(style),
        style=style,
        script=script,
        # Within a script element only `</` and `<!--` have a meaning, so every `<` is escaped.
        data=encode(data).replace("<", "\\u003c"),
    )


def _audio(recording: Path, mime: str, folder: Path) -> dict[str, Any]:
    path = recording
    if mime != "audio/ogg":
        # The encoder writes beside its input, but the folder of recordings must not be changed.
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
    except ValueError:  # for example 24-bit samples, which can still be played
        return {}


def _stereo(recording: Path) -> Path:
    """Return a stereo version of a recording: mono is the user's side, further channels are dropped."""
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
        return recording  # the encoder reports the same error
    except soundfile.SoundFileError as error:
        raise RecordingError(f"{recording.name} cannot be read as a recording: {error}") from error
    return made


def _script() -> str:
    script = (STATIC_FILES / "page.js").read_text(encoding="utf-8")
    # Within a string of the script, this is the same text; it does not occur outside of strings.
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _style() -> str:
    style = (STATIC_FILES / "page.css").read_text(encoding="utf-8")
    return _FONT.sub(lambda found: f"url({_data_url(STATIC_FILES / found[1])})", style)


def _data_url(font: Path) -> str:
    return f"data:font/woff2;base64,{b64encode(font.read_bytes()).decode('ascii')}"


def _hash(text: str) -> str:
    """Return the source expression of an inline element: https://www.w3.org/TR/CSP3/#grammardef-hash-source"""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode('ascii')}"
