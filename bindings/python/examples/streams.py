"""Many streams at once on one engine and one event loop, none of which blocks the loop.

    python3 streams.py [MODEL]

The engine works in a thread of its own; the loop is only told that there is text. A heartbeat runs beside the streams, as
the other work of a server would, and measures how late the loop lets it go on.
"""

from __future__ import annotations

import asyncio
import sys
import time

import foretoken

STREAMS = 64
PERIOD = 0.002  # seconds between heartbeats


class Heartbeat:
    """Counts how often the loop came round, and how late it was at worst, in seconds."""

    def __init__(self) -> None:
        self.count = 0
        self.worst = 0.0

    async def beat(self) -> None:
        while True:
            due = time.monotonic() + PERIOD
            await asyncio.sleep(PERIOD)
            self.count += 1
            self.worst = max(self.worst, time.monotonic() - due)


async def read(engine: foretoken.Engine, index: int) -> tuple[str, str | None]:
    """The text of one stream, piece by piece as a server would pass it on, and how it ended."""
    text, reason = "", None
    prompt = f"def task_{index}(path):\n"
    async for chunk in engine.astream(prompt, max_tokens=32, temperature=0.8, seed=index, ignore_eos=True):
        text += chunk.text
        reason = chunk.finish_reason
    return text, reason


async def run(engine: foretoken.Engine) -> None:
    heart = Heartbeat()
    beating = asyncio.ensure_future(heart.beat())
    start = time.monotonic()
    ends = await asyncio.gather(*(read(engine, index) for index in range(STREAMS)))
    seconds = time.monotonic() - start
    beating.cancel()
    finished = sum(reason == "length" for _, reason in ends)
    print(
        f"{finished} of {STREAMS} streams finished in {seconds:.2f} s, {sum(len(text) for text, _ in ends)} characters"
    )
    print(f"{heart.count} heartbeats, the latest {heart.worst * 1000:.1f} ms late")


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else foretoken.bundled("target")
    with foretoken.Model(path) as model, foretoken.Engine(model, max_running_requests=STREAMS) as engine:
        asyncio.run(run(engine))


if __name__ == "__main__":
    main()
