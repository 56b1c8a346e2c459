"""Apps that hold Live sessions and live translations with the real client, and know nothing of us.

``python -m tests.support.live_app URL KIND`` holds one in a process of its own, and kills itself where
it would close it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from openai import AsyncOpenAI, OpenAI

from tests.support.live_server import CONFIG, FRAME_MS, RESULT, SESSION_ID, USER_HZ, encoded, words

#: So long a caller speaks, and listens before he hangs up; his microphone is open all the time.
SPEAKS_MS = 1_000
LISTENS_MS = 800
SILENCE = encoded(bytes(FRAME_MS * 48))
LANGUAGE: Any = {
    "audio": {"input": {"transcription": {"model": "gpt-transcribe"}}, "output": {"language": "fr"}}
}
TOOL_OUTPUT: Any = {"type": "function_call_output", "call_id": "call_1", "output": RESULT}


def client_of(url: str) -> AsyncOpenAI:
    """The real asynchronous client."""
    return AsyncOpenAI(api_key="any", websocket_base_url=url)


def sync_client_of(url: str) -> OpenAI:
    """The real synchronous client."""
    return OpenAI(api_key="any", websocket_base_url=url)


def _wants_tool(event: Any) -> bool:
    if event.type != "response.event" or event.event["type"] != "response.completed":
        return False
    return bool(event.event["response"]["id"] == "resp_1")


async def live(url: str, before_close: Callable[[], object] = lambda: None) -> None:
    """Ask by voice, look up what the backend wants, listen, hang up."""
    async with client_of(url).live.connect() as connection:
        await connection.session.start(session=CONFIG)  # type: ignore[arg-type]
        async for event in connection:
            if event.type == "session.started":
                for audio in words(SPEAKS_MS, USER_HZ):
                    await asyncio.sleep(FRAME_MS / 1000)
                    await connection.session.input_audio.append(audio=audio)
            elif _wants_tool(event):
                await connection.response.item.create(item=TOOL_OUTPUT)
                await connection.response.create()
            elif event.type == "error":
                for _ in range(LISTENS_MS // FRAME_MS):
                    await asyncio.sleep(FRAME_MS / 1000)
                    await connection.session.input_audio.append(audio=SILENCE)
                before_close()
                await connection.session.close()


def live_sync(url: str, before_close: Callable[[], object] = lambda: None) -> None:
    """The same with the synchronous client."""
    with sync_client_of(url).live.connect() as connection:
        connection.session.start(session=CONFIG)  # type: ignore[arg-type]
        for event in connection:
            if event.type == "session.started":
                for audio in words(SPEAKS_MS, USER_HZ):
                    time.sleep(FRAME_MS / 1000)
                    connection.session.input_audio.append(audio=audio)
            elif _wants_tool(event):
                connection.response.item.create(item=TOOL_OUTPUT)
                connection.response.create()
            elif event.type == "error":
                for _ in range(LISTENS_MS // FRAME_MS):
                    time.sleep(FRAME_MS / 1000)
                    connection.session.input_audio.append(audio=SILENCE)
                before_close()
                connection.session.close()


async def sideband(url: str) -> None:
    """Watch a call by telephone until it fails."""
    async with client_of(url).live.sideband.connect(session_id=SESSION_ID) as connection:
        async for event in connection:
            if event.type == "transport.failed":
                return


def sideband_sync(url: str) -> None:
    """The same with the synchronous client."""
    with sync_client_of(url).live.sideband.connect(session_id=SESSION_ID) as connection:
        for event in connection:
            if event.type == "transport.failed":
                return


async def translation(url: str, before_close: Callable[[], object] = lambda: None) -> None:
    """Have a lecture translated."""
    connecting = client_of(url).realtime.translations.connect(model="gpt-realtime-translate")
    async with connecting as connection:
        await connection.session.update(session=LANGUAGE)
        for audio in words(SPEAKS_MS, USER_HZ):
            await asyncio.sleep(FRAME_MS / 1000)
            await connection.session.input_audio_buffer.append(audio=audio)
        heard = 0
        async for event in connection:
            heard += event.type == "session.input_transcript.delta"
            if heard == 4:
                heard = 0
                for _ in range(LISTENS_MS // FRAME_MS):
                    await asyncio.sleep(FRAME_MS / 1000)
                    await connection.session.input_audio_buffer.append(audio=SILENCE)
                before_close()
                await connection.session.close()


def translation_sync(url: str, before_close: Callable[[], object] = lambda: None) -> None:
    """The same with the synchronous client."""
    connecting = sync_client_of(url).realtime.translations.connect(model="gpt-realtime-translate")
    with connecting as connection:
        connection.session.update(session=LANGUAGE)
        for audio in words(SPEAKS_MS, USER_HZ):
            time.sleep(FRAME_MS / 1000)
            connection.session.input_audio_buffer.append(audio=audio)
        heard = 0
        for event in connection:
            heard += event.type == "session.input_transcript.delta"
            if heard == 4:
                heard = 0
                for _ in range(LISTENS_MS // FRAME_MS):
                    time.sleep(FRAME_MS / 1000)
                    connection.session.input_audio_buffer.append(audio=SILENCE)
                before_close()
                connection.session.close()


def _die() -> None:
    time.sleep(1.5)  # everything is on disk a second after it happened
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Hold one conversation, and die in it."""
    import otel_realtime

    otel_realtime.configure()
    otel_realtime.instrument()
    url, kind = sys.argv[1:]
    asyncio.run({"live": live, "translation": translation}[kind](url, _die))


if __name__ == "__main__":
    main()
