"""A connection for each call against kept ones, on a PostgreSQL of its own, with and without TLS.

    PYTHONPATH=.:template/src .venv/bin/python benchmarks/postgres_connections.py

Prints ratios of medians. The two ways take turns, call by call, so that what else the machine does
meets both alike. `--delay MS` holds back each piece of data on its way, as a far database does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from personal_server.postgres import Database
from tests.support.database import database
from tests.support.tls import Authority

STATEMENT = "SELECT count(*) FROM pg_class WHERE relname <> $1"


async def relay(behind: int, seconds: float) -> asyncio.Server:
    """Passes everything on after a delay, each way."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await asyncio.sleep(seconds)
            writer.write(data)
        writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * seconds)  # the handshake of TCP
        there, back = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    return await asyncio.start_server(pass_on, "127.0.0.1", 0)


async def compare(url: str, port: int, calls: int, delay: float) -> tuple[float, float]:
    """Returns the medians of a call in seconds: a connection for each, and kept ones."""
    way = await relay(port, delay) if delay else None
    if way:
        url = url.replace(f":{port}/", f":{way.sockets[0].getsockname()[1]}/")
    os.environ["POSTGRES_URL"] = url
    ways = [Database(), Database(keep=1)]
    taken: list[list[float]] = [[], []]
    for number in range(calls + 5):
        for index, way_of_calling in enumerate(ways):
            began = time.perf_counter()
            await way_of_calling.run(STATEMENT, ["x"])
            if number >= 5:  # warmed up
                taken[index].append(time.perf_counter() - began)
    for way_of_calling in ways:
        await way_of_calling.close()
    if way:
        way.close()
    return statistics.median(taken[0]), statistics.median(taken[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS", help="each way")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, database() as server:
        server.sql("CREATE ROLE reader LOGIN PASSWORD 'measured'")
        server.ask_for_passwords("reader")
        server.offer_tls(Authority(Path(folder)).issue("localhost"))
        for name, mode in (("without TLS", "disable"), ("with TLS", "require")):
            url = server.url_of("reader", "measured", f"?sslmode={mode}")
            for _ in range(3):
                each, kept = asyncio.run(
                    compare(url, server.port or 0, asked.calls, asked.delay / 1000)
                )
                print(
                    f"{name}, {asked.delay:g} ms each way: a connection for each call takes"
                    f" {each / kept:.1f} times as long ({(each - kept) * 1000:.1f} ms more)"
                )


if __name__ == "__main__":
    main()
