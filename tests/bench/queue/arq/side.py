"""arq's side of `make bench-queue`; the commands are those of tests/src/bin/bench_queue/side.rs."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import arq
from arq import create_pool, func
from arq.connections import ArqRedis, RedisSettings
from arq.constants import default_queue_name
from arq.worker import Worker

NAME = "measured"
BULK = 1000
BIN_US = 10_000
# arq looks for jobs at intervals, half a second by default. That would be all that the figures show.
POLL_SECONDS = 0.01


def now_us() -> int:
    return time.time_ns() // 1000


def answer(said: dict[str, Any]) -> None:
    print(json.dumps(said), flush=True)


class Work:
    """What a worker does and counts between `go` and `stop`."""

    def __init__(self, redis: ArqRedis, kind: str, keeps_latencies: bool) -> None:
        self.pause = 0.001 if kind == "1ms" else 0
        self.keeps_latencies = keeps_latencies
        self.handled = 0
        self.first_us: int | None = None
        self.last_us = 0
        self.bins: Counter[int] = Counter()
        self.paused_us = 0
        self.latencies_us: list[int] = []
        self.worker = Worker(
            functions=[func(self.run, name=NAME)],
            redis_pool=redis,
            max_jobs=int(os.environ["BENCH_CONCURRENCY"]),
            poll_delay=POLL_SECONDS,
            handle_signals=False,
        )
        self.task = asyncio.create_task(self.worker.main())
        self.progress = asyncio.create_task(self.tell_progress())

    async def run(self, _context: dict[Any, Any], added_us: int) -> None:
        started = now_us()
        if self.pause:
            await asyncio.sleep(self.pause)
        if self.first_us is None:
            self.first_us = started
        if self.keeps_latencies:
            self.latencies_us.append(max(0, started - added_us))
        self.last_us = now_us()
        self.paused_us += self.last_us - started
        self.bins[self.last_us // BIN_US] += 1
        self.handled += 1

    async def tell_progress(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            answer({"handled": self.handled})

    async def stop(self) -> dict[str, Any]:
        self.worker.allow_pick_jobs = False
        while self.worker.tasks:
            await asyncio.gather(*self.worker.tasks.values(), return_exceptions=True)
            await asyncio.sleep(0)
            self.worker.tasks = {name: task for name, task in self.worker.tasks.items() if not task.done()}
        self.task.cancel()
        self.progress.cancel()
        await asyncio.gather(self.task, self.progress, return_exceptions=True)
        return {
            "stopped": {
                "handled": self.handled,
                "first_us": self.first_us,
                "last_us": self.last_us,
                "paused_us": self.paused_us,
                "bin_us": BIN_US,
                "bins": list(self.bins.items()),
                "latencies_us": self.latencies_us,
            }
        }


class Side:
    def __init__(self, redis: ArqRedis) -> None:
        self.redis = redis
        self.work: Work | None = None

    async def add(self) -> None:
        await self.redis.enqueue_job(NAME, now_us())

    async def add_from(self, callers: int, jobs: int) -> dict[str, Any]:
        left = iter(range(jobs))

        async def call() -> None:
            for _ in left:
                await self.add()

        return await timed(jobs, asyncio.gather(*(call() for _ in range(callers))))

    async def add_many(self, jobs: int) -> dict[str, Any]:
        # There is no call for many: a thousand calls at once.
        async def all_of_them() -> None:
            for start in range(0, jobs, BULK):
                await asyncio.gather(*(self.add() for _ in range(min(BULK, jobs - start))))

        return await timed(jobs, all_of_them())

    async def load(self, rate: float, seconds: float) -> dict[str, Any]:
        jobs = int(rate * seconds)

        async def send() -> None:
            started = time.perf_counter()
            calls: list[asyncio.Task[None]] = []
            while len(calls) < jobs:
                due = min(jobs, int((time.perf_counter() - started) * rate))
                calls.extend(asyncio.create_task(self.add()) for _ in range(due - len(calls)))
                await asyncio.sleep(0.001)
            await asyncio.gather(*calls)

        return await timed(jobs, send())

    async def empty(self) -> dict[str, Any]:
        # A job leaves the set when its end is recorded.
        while await self.redis.zcard(default_queue_name):
            await asyncio.sleep(0.002)
        return {"at_us": now_us()}

    async def obey(self, line: str) -> dict[str, Any] | None:
        command, *rest = line.split()
        if command == "add":
            return await self.add_from(int(rest[1]), int(rest[0]))
        if command in ("add_many", "fill"):
            return await self.add_many(int(rest[0]))
        if command == "load":
            return await self.load(float(rest[0]), float(rest[1]))
        if command == "empty":
            return await self.empty()
        if command == "clear":
            await self.redis.flushdb()
            return {"cleared": True}
        if command == "go":
            self.work = Work(self.redis, rest[0], "latencies" in rest)
            return None
        if command == "stop" and self.work:
            return await self.work.stop()
        raise ValueError(f"`{line}` is no command")


async def timed(jobs: int, act: Awaitable[Any]) -> dict[str, Any]:
    started = time.perf_counter()
    await act
    return {"jobs": jobs, "seconds": time.perf_counter() - started}


async def main() -> None:
    side = Side(await create_pool(RedisSettings.from_dsn(os.environ["BENCH_REDIS_URL"])))
    answer({"ready": f"arq {arq.VERSION}, Python {platform.python_version()}"})
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        try:
            said = await side.obey(line.decode())
            if said:
                answer(said)
        except Exception as error:  # whatever it is, the program that measures is told
            answer({"error": repr(error)})


asyncio.run(main())
