"""Twilio's end of one media stream: a caller who speaks, hears in real time, and barges in.

https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

FRAME_MS = 20
BYTES_PER_MS = 8
SILENCE = b"\xff"
CALL_SID, STREAM_SID = "CA0123456789", "MZ0123456789"


class Phone:
    """One call; use it as ``async with Phone(url) as phone``.

    Attributes:
        played_ms: how much the caller has heard in all.
        heard: how much the caller had heard when each mark came back, by name, in order.
        unheard: names of the marks that came back because of a ``clear``.
        clears: how much had been heard at each ``clear``.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._say: deque[bytes] = deque()
        self._buffer: deque[bytes | str] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._socket: ClientConnection
        self.marks: list[str] = []
        self.played_ms = 0.0
        self.heard: dict[str, float] = {}
        self.unheard: list[str] = []
        self.clears: list[float] = []

    async def __aenter__(self) -> Phone:
        self._socket = await connect(self._url)
        await self._send("connected", protocol="Call", version="1.0.0")
        media = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        start = {"streamSid": STREAM_SID, "callSid": CALL_SID, "tracks": ["inbound"]}
        await self._send("start", start={**start, "mediaFormat": media})
        loops = (self._microphone(), self._receiver(), self._speaker())
        self._tasks = [asyncio.ensure_future(loop) for loop in loops]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._send("stop", stop={"callSid": CALL_SID})
        await self._socket.close()

    def say(self, mulaw: bytes) -> None:
        """Speak, from now on."""
        size = FRAME_MS * BYTES_PER_MS
        self._say.extend(mulaw[at : at + size] for at in range(0, len(mulaw), size))

    async def until(self, condition: Any, timeout_s: float = 15.0) -> None:
        """Wait until something holds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not condition():
            for task in self._tasks:
                if task.done():
                    task.result()
            assert loop.time() < deadline, (self.marks, self.heard, self.played_ms)
            await asyncio.sleep(0.005)

    @property
    def quiet(self) -> bool:
        """Whether all marks that were sent came back."""
        return len(self.marks) == len(self.heard) + len(self.unheard)

    async def _microphone(self) -> None:
        size, loop = FRAME_MS * BYTES_PER_MS, asyncio.get_running_loop()
        due = loop.time()
        while True:
            audio = self._say.popleft() if self._say else b""
            payload = base64.b64encode(audio.ljust(size, SILENCE)).decode()
            await self._send("media", media={"track": "inbound", "payload": payload})
            due += FRAME_MS / 1000
            await asyncio.sleep(max(due - loop.time(), 0))

    async def _receiver(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            assert STREAM_SID == message["streamSid"]
            if message["event"] == "media":
                self._buffer.append(base64.b64decode(message["media"]["payload"]))
            elif message["event"] == "mark":
                self.marks.append(message["mark"]["name"])
                self._buffer.append(message["mark"]["name"])
            elif message["event"] == "clear":
                self.clears.append(self.played_ms)
                left, self._buffer = self._buffer, deque()
                for name in left:
                    if isinstance(name, str):
                        self.unheard.append(name)
                        await self._mark(name)

    async def _speaker(self) -> None:
        """Play the buffer in real time; a mark comes back when everything before it was played."""
        loop, due = asyncio.get_running_loop(), 0.0
        while True:
            if not self._buffer:
                await asyncio.sleep(0.005)
                continue
            entry = self._buffer.popleft()
            if isinstance(entry, str):
                self.heard[entry] = self.played_ms
                await self._mark(entry)
                continue
            step = FRAME_MS * BYTES_PER_MS
            if len(entry) > step:  # a clear can come in the middle of a piece
                self._buffer.appendleft(entry[step:])
            played_ms = len(entry[:step]) / BYTES_PER_MS
            due = max(due, loop.time()) + played_ms / 1000
            await asyncio.sleep(max(due - loop.time(), 0))
            self.played_ms += played_ms

    async def _mark(self, name: str) -> None:
        await self._send("mark", mark={"name": name})

    async def _send(self, event: str, **fields: Any) -> None:
        message = {"event": event, "streamSid": STREAM_SID, **fields}
        await self._socket.send(json.dumps(message))
