"""arq: its own worker; results, retries, deferred and unique jobs, aborting.

python arq_program.py PORT
"""

import asyncio
import sys
from typing import Any

from arq import Retry, create_pool
from arq.connections import RedisSettings
from arq.jobs import JobStatus
from arq.worker import Worker


async def add(ctx: dict[str, Any], left: int, right: int) -> int:
    """Any result."""
    return left + right


async def succeed_at_third_try(ctx: dict[str, Any]) -> int:
    """Fails twice."""
    if ctx["job_try"] < 3:
        raise Retry(defer=0)
    return ctx["job_try"]


async def fail(ctx: dict[str, Any]) -> None:
    """Always."""
    raise ValueError("as expected")


async def endless(ctx: dict[str, Any]) -> None:
    """Until it is aborted."""
    await asyncio.sleep(600)


async def run(port: str) -> None:
    """Put jobs, let the worker do them, look."""
    settings = RedisSettings(port=int(port))
    pool = await create_pool(settings)
    functions = [add, succeed_at_third_try, fail, endless]
    worker = Worker(
        functions,
        redis_settings=settings,
        poll_delay=0.05,
        allow_abort_jobs=True,
        handle_signals=False,
    )
    working = asyncio.create_task(worker.async_run())
    jobs = [await pool.enqueue_job("add", n, n) for n in range(20)]
    assert await pool.enqueue_job("add", 1, 1, _job_id="once") is not None
    assert await pool.enqueue_job("add", 1, 1, _job_id="once") is None
    retried = await pool.enqueue_job("succeed_at_third_try")
    failed = await pool.enqueue_job("fail")
    deferred = await pool.enqueue_job("add", 5, 5, _defer_by=0.3)
    aborted = await pool.enqueue_job("endless")
    assert [await job.result(timeout=30) for job in jobs] == [2 * n for n in range(20)]
    assert await retried.result(timeout=30) == 3
    assert await deferred.result(timeout=30) == 10
    try:
        await failed.result(timeout=30)
    except ValueError as error:
        assert str(error) == "as expected"
    else:
        raise AssertionError("the failure of a job did not arrive")
    while await aborted.status() != JobStatus.in_progress:
        await asyncio.sleep(0.05)
    assert await aborted.abort(timeout=30)
    assert await jobs[0].status() == JobStatus.complete
    await worker.close()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1]))
    print("done")
