"""Pass on what two programs say to each other, late: `slow_proxy.py MILLISECONDS PORT HOST:PORT...`

The first of the other addresses is reached by PORT of loopback, the second by the next port, and
so on. Every piece is passed on when MILLISECONDS have gone by since it came.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial


async def main(delay: float, port: int, addresses: list[str]) -> None:
    for number, address in enumerate(addresses):
        host, _, there = address.partition(":")
        connect = partial(pass_on, delay, host, int(there))
        await asyncio.start_server(connect, "127.0.0.1", port + number)
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


async def pass_on(
    delay: float, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    there_reader, there_writer = await asyncio.open_connection(host, port)
    await asyncio.gather(carry(delay, reader, there_writer), carry(delay, there_reader, writer))


async def carry(delay: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

    async def receive() -> None:
        while True:
            try:
                piece = await reader.read(65_536)
            except ConnectionError:
                piece = b""
            pieces.put_nowait((loop.time() + delay, piece))
            if not piece:
                return

    receiving = asyncio.create_task(receive())
    while True:
        due, piece = await pieces.get()
        await asyncio.sleep(due - loop.time())
        if not piece:
            break
        writer.write(piece)
    await receiving
    writer.close()


if __name__ == "__main__":
    milliseconds, first_port, *others = sys.argv[1:]
    asyncio.run(main(float(milliseconds) / 1000, int(first_port), others))
