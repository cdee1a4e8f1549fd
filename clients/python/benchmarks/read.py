"""Prints what a read costs while the stream is up: `read.py CLIENT`, with a daemon where it is usually found."""

import asyncio
import sys
import time

import bearerd
import bearerd.aio

READS = 1_000_000


def threads(name: str) -> float:
    """Nanoseconds per read of the synchronous client."""
    with bearerd.Broker() as broker:
        read = broker.client(name).token
        read()
        begun = time.perf_counter()
        for _ in range(READS):
            read()
        return (time.perf_counter() - begun) / READS * 1e9


async def tasks(name: str) -> float:
    """Nanoseconds per read of the asyncio client."""
    async with bearerd.aio.Broker() as broker:
        read = broker.client(name).token
        await read()
        begun = time.perf_counter()
        for _ in range(READS):
            await read()
        return (time.perf_counter() - begun) / READS * 1e9


if __name__ == "__main__":
    client = sys.argv[1] if len(sys.argv) > 1 else "demo"
    print(f"read {threads(client):.0f} ns")
    print(f"read with asyncio {asyncio.run(tasks(client)):.0f} ns")
