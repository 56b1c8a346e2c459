"""Who listens is told which calls have changed."""

from __future__ import annotations

import asyncio
import json
import threading

from otel_realtime.sandbox.changes import MOST, Changes


async def told(changes: Changes, count: int) -> list[list[str]]:
    found: list[list[str]] = []
    stream = changes.stream()
    async for line in stream:
        if line.startswith(b"retry"):
            continue
        found.append(json.loads(line.split(b"data: ")[1]))
        if len(found) == count:
            break
    await stream.aclose()
    return found


def test_changes_of_any_thread_become_events() -> None:
    """Those that come together are one event."""

    async def main() -> list[list[str]]:
        changes = Changes()
        listening = asyncio.create_task(told(changes, 2))
        await asyncio.sleep(0.05)
        for name in "ab":
            threading.Thread(target=changes.publish, args=([name],)).start()
        await asyncio.sleep(0.4)
        changes.publish(["c"])
        changes.publish([])
        return await asyncio.wait_for(listening, 5)

    assert [["a", "b"], ["c"]] == asyncio.run(main())


def test_close_ends_the_streams() -> None:
    """Those that are open, and those that are opened later."""

    async def main() -> None:
        changes = Changes()
        open_one = asyncio.create_task(told(changes, 9))
        await asyncio.sleep(0.05)
        changes.close()
        assert [] == await asyncio.wait_for(open_one, 5)
        assert [] == await asyncio.wait_for(told(changes, 9), 5)

    asyncio.run(main())


def test_a_loop_that_has_ended_is_no_error() -> None:
    """A page whose server is gone."""
    changes = Changes()

    async def main() -> None:
        stream = changes.stream()
        await stream.__anext__()

    asyncio.run(main())
    changes.publish(["a"])


def test_only_so_many_listen_and_who_goes_makes_room() -> None:
    """Each holds a connection."""

    async def main() -> list[bool]:
        changes = Changes()
        streams = [changes.stream() for _ in range(MOST)]
        for stream in streams:
            await stream.__anext__()
        found = [changes.full]
        await streams[0].aclose()
        return [*found, changes.full]

    assert [True, False] == asyncio.run(main())
