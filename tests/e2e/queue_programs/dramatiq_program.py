"""Dramatiq: its own worker process; results, retries, priorities, delays, a group.

python dramatiq_program.py PORT
"""

import os
import subprocess
import sys
from pathlib import Path

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from dramatiq.results.errors import ResultFailure
from redis import Redis

URL = f"redis://127.0.0.1:{os.environ.get('QUEUE_PORT', '1')}"
# redis-py gives up after 5 seconds otherwise, and the workers may need longer to begin
client = Redis.from_url(URL, socket_timeout=120)
broker = RedisBroker(client=client)
broker.add_middleware(Results(backend=RedisBackend(client=client)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def add(left: int, right: int) -> int:
    """Any result."""
    return left + right


@dramatiq.actor(store_results=True, max_retries=3, min_backoff=1, max_backoff=10)
def succeed_at_third_try(counter: str) -> int:
    """Fails twice."""
    tries = broker.client.incr(counter)
    if tries < 3:
        raise ValueError(tries)
    return tries


@dramatiq.actor(store_results=True, max_retries=0)
def fail() -> None:
    """Always."""
    raise ValueError("as expected")


def check() -> None:
    """What a user of Dramatiq does."""
    assert add.send(2, 3).get_result(block=True, timeout=30_000) == 5
    group = dramatiq.group([add.message(n, n) for n in range(20)]).run()
    assert list(group.get_results(block=True, timeout=30_000)) == [2 * n for n in range(20)]
    pipeline = dramatiq.pipeline([add.message(1, 2), add.message(10), add.message(100)]).run()
    assert pipeline.get_result(block=True, timeout=30_000) == 113
    assert succeed_at_third_try.send("tries").get_result(block=True, timeout=60_000) == 3
    delayed = add.send_with_options(args=(1, 1), delay=300)
    assert delayed.get_result(block=True, timeout=30_000) == 2
    try:
        fail.send().get_result(block=True, timeout=30_000)
    except ResultFailure as failure:
        assert "as expected" in str(failure)
    else:
        raise AssertionError("the failure of an actor did not arrive")
    broker.join("default", timeout=30_000)


def main(port: str) -> None:
    """Start the workers, use them, stop them."""
    command = [sys.executable, "-m", "dramatiq", "dramatiq_program", "--processes", "1"]
    worker = subprocess.Popen(
        [*command, "--threads", "4"],
        cwd=Path(__file__).parent,
        env=os.environ | {"QUEUE_PORT": port},
        stderr=subprocess.DEVNULL,  # it logs every failure
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
    main(sys.argv[1])
