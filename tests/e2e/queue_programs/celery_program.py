"""Celery: its own worker with prefork; results, retries, chains, a chord, priorities, delays.

python celery_program.py PORT
"""

import os
import subprocess
import sys
from pathlib import Path

from celery import Celery, chain, chord, group

URL = f"redis://127.0.0.1:{os.environ.get('QUEUE_PORT', '0')}/0"
app = Celery("celery_program", broker=URL, backend=URL)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 60, "queue_order_strategy": "priority"},
    result_expires=600,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
)


@app.task
def add(left: int, right: int) -> int:
    """Any result."""
    return left + right


@app.task
def total(numbers: list[int]) -> int:
    """The body of a chord."""
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def succeed_at_third_try(self) -> int:  # noqa: ANN001  # Celery's task
    """Fails twice."""
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task
def fail() -> None:
    """Always."""
    raise ValueError("as expected")


def check() -> None:
    """What a user of Celery does."""
    assert add.delay(2, 3).get(timeout=30) == 5
    assert group(add.s(n, n) for n in range(10))().get(timeout=30) == [2 * n for n in range(10)]
    assert chain(add.s(1, 2), add.s(10), add.s(100))().get(timeout=30) == 113
    assert chord([add.s(n, n) for n in range(20)])(total.s()).get(timeout=30) == 380
    assert succeed_at_third_try.delay().get(timeout=30) == 2
    failed = fail.delay()
    try:
        failed.get(timeout=30)
    except ValueError as error:
        assert str(error) == "as expected"
    else:
        raise AssertionError("the failure of a task did not arrive")
    assert failed.state == "FAILURE"
    ordered = [add.apply_async((n, 0), priority=n % 10) for n in range(20)]
    assert [result.get(timeout=30) for result in ordered] == list(range(20))
    assert add.apply_async((1, 1), countdown=0.5).get(timeout=30) == 2
    pong = app.control.ping(timeout=5)  # through publish/subscribe
    assert len(pong) == 1, pong


def main(port: str) -> None:
    """Start the worker, use it, stop it."""
    environment = os.environ | {"QUEUE_PORT": port}
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "celery_program",
            "worker",
            "-c",
            "2",
            "-l",
            "ERROR",
        ],
        cwd=Path(__file__).parent,
        env=environment,
    )
    try:
        check()
    finally:
        worker.terminate()
        worker.wait(20)
    print("done")


if __name__ == "__main__":
    if "QUEUE_PORT" not in os.environ:  # the module reads its address when it is imported
        os.environ["QUEUE_PORT"] = sys.argv[1]
        os.execv(sys.executable, [sys.executable, *sys.argv])
    from celery_program import main as main_by_name  # tasks are named after the module

    main_by_name(sys.argv[1])
