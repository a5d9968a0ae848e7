"""RQ: its own worker process; results, retries, dependencies, failures, a scheduled job.

python rq_program.py PORT
"""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import rq_program
from redis import Redis
from rq import Queue, Retry
from rq.job import Job, JobStatus


def add(left: int, right: int) -> int:
    """Any result."""
    return left + right


def succeed_at_third_try(counter: str) -> int:
    """Fails twice."""
    tries = Redis(port=int(os.environ["QUEUE_PORT"])).incr(counter)
    if tries < 3:
        raise ValueError(tries)
    return tries


def double_of_dependency() -> int:
    """Of the job that this one depends on."""
    from rq import get_current_job

    return 2 * get_current_job().dependency.return_value()


def fail() -> None:
    """Always."""
    raise ValueError("as expected")


def work(port: str) -> None:
    """Run RQ's worker until the queues are empty."""
    subprocess.run(
        [
            *(sys.executable, "-m", "rq.cli", "worker", "high", "default", "--burst", "--quiet"),
            *("--url", f"redis://127.0.0.1:{port}"),
        ],
        cwd=Path(__file__).parent,
        env=os.environ | {"QUEUE_PORT": port},
        timeout=60,
        check=True,
    )


def main(port: str) -> None:
    """Put jobs, let the worker do them, look."""
    redis = Redis(port=int(port))
    queue, high = Queue("default", connection=redis), Queue("high", connection=redis)
    added = queue.enqueue(rq_program.add, 2, 3)
    doubled = queue.enqueue(rq_program.double_of_dependency, depends_on=added)
    retried = queue.enqueue(rq_program.succeed_at_third_try, "tries", retry=Retry(max=3))
    failed = queue.enqueue(rq_program.fail)
    first = high.enqueue(rq_program.add, 1, 1)
    many = queue.enqueue_many([Queue.prepare_data(rq_program.add, (n, n)) for n in range(20)])
    later = queue.enqueue_in(timedelta(seconds=1), rq_program.add, 5, 5)
    assert len(queue) == 23
    work(port)
    assert added.return_value() == 5
    assert doubled.return_value() == 10
    assert retried.return_value() == 3
    assert failed.get_status() == JobStatus.FAILED
    assert "as expected" in failed.latest_result().exc_string
    assert queue.failed_job_registry.count == 1
    for job in (first, added):
        job.refresh()
    assert first.ended_at < added.ended_at
    assert [job.return_value() for job in many] == [2 * n for n in range(20)]
    assert later.get_status() == JobStatus.SCHEDULED
    assert Job.fetch(later.id, connection=redis).origin == "default"
    failed.requeue()
    work(port)
    assert queue.failed_job_registry.count == 1
    assert len(queue) == 0
    print("done")


if __name__ == "__main__":
    main(sys.argv[1])
