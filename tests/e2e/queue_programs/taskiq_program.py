"""taskiq-redis: its own worker process on a stream, and one on a list; results, retries.

python taskiq_program.py PORT
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from taskiq import SimpleRetryMiddleware
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

URL = f"redis://127.0.0.1:{os.environ.get('QUEUE_PORT', '1')}"
results = RedisAsyncResultBackend(URL, result_ex_time=600)
streams = RedisStreamBroker(URL).with_result_backend(results)
streams.add_middlewares(SimpleRetryMiddleware(default_retry_count=3))
lists = ListQueueBroker(URL, queue_name="a-list").with_result_backend(results)
_tries = 0


@streams.task
async def add(left: int, right: int) -> int:
    """Any result."""
    return left + right


@lists.task
async def multiply(left: int, right: int) -> int:
    """Any result."""
    return left * right


@streams.task(retry_on_error=True)
async def succeed_at_third_try() -> int:
    """Fails twice; the one worker counts."""
    global _tries
    _tries += 1
    if _tries < 3:
        raise ValueError(_tries)
    return _tries


@streams.task
async def fail() -> None:
    """Always."""
    raise ValueError("as expected")


async def check() -> None:
    """What a user of taskiq does."""
    await streams.startup()
    await lists.startup()
    sums = [await add.kiq(n, n) for n in range(20)]
    products = [await multiply.kiq(n, n) for n in range(20)]
    retried = await succeed_at_third_try.kiq()
    failed = await fail.kiq()
    for task, expected in zip(sums, [2 * n for n in range(20)], strict=True):
        assert (await task.wait_result(timeout=30)).return_value == expected
    for task, expected in zip(products, [n * n for n in range(20)], strict=True):
        assert (await task.wait_result(timeout=30)).return_value == expected
    result = await retried.wait_result(timeout=30)
    assert (result.is_err, result.return_value) == (False, 3)
    result = await failed.wait_result(timeout=30)
    assert result.is_err
    assert "as expected" in str(result.error)
    await streams.shutdown()
    await lists.shutdown()


def main(port: str) -> None:
    """Start a worker for each broker, use them, stop them."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "taskiq", "worker", f"taskiq_program:{name}", "--workers", "1"],
            cwd=Path(__file__).parent,
            env=os.environ | {"QUEUE_PORT": port},
            stderr=subprocess.DEVNULL,  # it logs every failure
            start_new_session=True,
        )
        for name in ("streams", "lists")
    ]
    try:
        asyncio.run(check())
    finally:
        for worker in workers:
            os.killpg(worker.pid, signal.SIGKILL)  # it takes its time to stop otherwise
            worker.wait(20)
    print("done")


if __name__ == "__main__":
    if "QUEUE_PORT" not in os.environ:  # the module reads its address when it is imported
        os.environ["QUEUE_PORT"] = sys.argv[1]
        os.execv(sys.executable, [sys.executable, *sys.argv])
    from taskiq_program import main as main_by_name  # tasks are named after the module

    main_by_name(sys.argv[1])
