"""Consumers of a task queue that are killed at random; then their logs are judged.

    python -m tests.soak.queues --tasks 100000 --consumers 8 [--visibility-ms 1000] [--port N]

Tasks are entries `1-0`, `2-0` ... of a stream whose group has a policy. Consumers are processes
with sockets of their own: each takes some tasks and acknowledges, gives back (XNACK) or forgets
them, or takes too long; some tasks end their consumer every time. All the while a consumer is
killed every few milliseconds and another one begins. Every consumer logs what it got, which XACK it
sends and what that answered, with a system call before and after, so that a kill loses nothing.
Afterwards, from the logs and from what the server holds:

    no task was acknowledged twice (XACK answered 1), and none that is a dead letter
    each task was acknowledged or is a dead letter; where no consumer lived to see the answer to its
    XACK, one that was killed had sent it
    dead letters were delivered as often as MAXDELIVER says, and nothing was delivered more often
    at the end the group has nothing pending and nothing left to read

Knows nothing of the server's inside.
"""

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hotplate.bench.link import Link, frame
from hotplate.bench.process import start_hotplate

STREAM: Final = "tasks"
GROUP: Final = "workers"
DEAD: Final = "dead"
DELIVERIES_MAX: Final = 5
BATCH: Final = 16  # tasks that a consumer takes at once
BLOCK_MS: Final = 100
POISON_EVERY: Final = 1000  # one task in so many ends its consumer
ADD_BATCH: Final = 500
KILL_SECONDS: Final = (0.03, 0.2)  # between two kills
SECONDS_MAX: Final = 600.0

Event = tuple[str, int]  # what happened, the task


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: its task, and how often it was delivered."""

    task: int
    deliveries: int


def consume(port: int, name: str, log_path: Path, seed: int, visibility_ms: int) -> None:
    """Take tasks until killed."""
    source = random.Random(seed)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    read: list[str | int] = ["XREADGROUP", "GROUP", GROUP, name, "COUNT", BATCH, "BLOCK", BLOCK_MS]
    with Link(f"redis://127.0.0.1:{port}") as link:
        while True:
            reply = link.command(*read, "STREAMS", STREAM, ">")
            tasks = [int(row[0].split(b"-")[0]) for row in reply[0][1]] if reply else []
            _note(log, "got", tasks)
            source.shuffle(tasks)  # or what comes behind a deadly one is never reached
            acknowledged, given_back = [], []
            for task in tasks:
                if task % POISON_EVERY == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                chance = source.random()
                if chance < 0.97:
                    acknowledged.append(task)
                elif chance < 0.99:
                    given_back.append(task)
                elif chance < 0.991:
                    acknowledged.append(task)
                    time.sleep(visibility_ms * 1.1 / 1000)  # all of this come too late
            _finish(link, log, acknowledged)
            for task in given_back:
                link.command("XNACK", STREAM, GROUP, "FAIL", "IDS", 1, f"{task}-0")


def _finish(link: Link, log: int, tasks: Sequence[int]) -> None:
    """Acknowledge each by itself, in one pipeline."""
    if not tasks:
        return
    requests = b"".join(frame("XACK", STREAM, GROUP, f"{task}-0") for task in tasks)
    _note(log, "sent", tasks)
    answers = link.calls(requests, len(tasks))
    _note(log, "one", [task for task, answer in zip(tasks, answers, strict=True) if answer == 1])
    _note(log, "none", [task for task, answer in zip(tasks, answers, strict=True) if answer == 0])


def _note(log: int, what: str, tasks: Sequence[int]) -> None:
    if tasks:
        os.write(log, "".join(f"{what} {task}\n" for task in tasks).encode())


def read_log(path: Path) -> list[Event]:
    """What one consumer did."""
    if not path.exists():
        return []  # it was killed before it began
    rows = [line.split() for line in path.read_text("ascii").splitlines()]
    return [(what, int(task)) for what, task in rows]


def judge(tasks: int, lives: Sequence[Sequence[Event]], letters: Sequence[Letter]) -> list[str]:
    """What breaks a promise, from the logs of all consumers and the dead letters."""
    got: Counter[int] = Counter()
    ones: Counter[int] = Counter()
    unanswered: set[int] = set()
    for life in lives:
        sent: set[int] = set()
        for what, task in life:
            if what == "got":
                got[task] += 1
            elif what == "sent":
                sent.add(task)
            else:
                sent.discard(task)
                ones[task] += what == "one"
        unanswered |= sent
    dead = Counter(letter.task for letter in letters)
    broken = [f"{task} is {count} dead letters" for task, count in dead.items() if count > 1]
    broken += [
        f"{letter.task} is dead after {letter.deliveries} deliveries"
        for letter in letters
        if letter.deliveries != DELIVERIES_MAX
    ]
    for task in range(1, tasks + 1):
        if ones[task] > 1:
            broken.append(f"{task} was acknowledged {ones[task]} times")
        if task in dead:
            if ones[task]:
                broken.append(f"{task} was acknowledged and is dead")
        elif not ones[task] and task not in unanswered:
            broken.append(f"{task} is lost: {got[task]} deliveries, no acknowledgement")
        if got[task] > DELIVERIES_MAX:
            broken.append(f"{task} was delivered {got[task]} times")
    return broken


class Crew:
    """The consumers at work, and the logs of all that ever were."""

    def __init__(
        self, port: int, folder: Path, source: random.Random, *, size: int, visibility_ms: int
    ) -> None:
        self._port = port
        self._folder = folder
        self._visibility_ms = visibility_ms
        self._source = source
        self._context = multiprocessing.get_context("fork")  # a new one begins in a millisecond
        self._at_work: list[Any] = []
        self.begun = 0
        self.kills = 0
        for _ in range(size):
            self._begin()

    def _begin(self) -> None:
        self.begun += 1
        path = self._path(self.begun)
        name, seed = f"consumer-{self.begun}", self._source.getrandbits(32)
        work = (self._port, name, path, seed, self._visibility_ms)
        process = self._context.Process(target=consume, args=work, daemon=True)
        process.start()
        self._at_work.append(process)

    def kill_one(self) -> None:
        """End one at random, and let others take the place of all that ended."""
        self._source.choice(self._at_work).kill()
        self.kills += 1
        self.replace_ended()

    def replace_ended(self) -> None:
        """Let others take the places of those that ended."""
        ended = [process for process in self._at_work if not process.is_alive()]
        for process in ended:
            process.join()
            self._at_work.remove(process)
            self._begin()

    def end(self) -> list[list[Event]]:
        """End all; what each did."""
        for process in self._at_work:
            process.kill()
            process.join()
        return [read_log(self._path(number)) for number in range(1, self.begun + 1)]

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.log"


def produce(link: Link, first: int, tasks: int) -> int:
    """Add some tasks; the number of the next."""
    after = min(first + ADD_BATCH, tasks + 1)
    requests = [frame("XADD", STREAM, f"{task}-0", "n", task) for task in range(first, after)]
    link.calls(b"".join(requests), len(requests))
    return after


def is_done(link: Link) -> bool:
    """Whether nothing is left to read or pending."""
    (row,) = link.command("XINFO", "GROUPS", STREAM)
    group = dict(zip(row[::2], row[1::2], strict=True))
    return (group[b"pending"], group[b"lag"]) == (0, 0)


def dead_letters(link: Link) -> list[Letter]:
    """All of them."""
    letters = []
    for _, fields in link.command("XRANGE", DEAD, "-", "+"):
        letter = dict(zip(fields[::2], fields[1::2], strict=True))
        letters.append(Letter(int(letter[b"_id"].split(b"-")[0]), int(letter[b"_deliveries"])))
    return letters


def main(argv: Sequence[str]) -> int:
    """Run and judge: 0, or 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--consumers", type=int, default=8)
    parser.add_argument("--visibility-ms", type=int, default=1000)
    parser.add_argument("--port", type=int, help="of a running Hotplate; without it one is started")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args(argv)
    print(f"seed {arguments.seed}", flush=True)
    source = random.Random(arguments.seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="queues-soak-")))
        port = arguments.port or stack.enter_context(start_hotplate(folder)).port
        link = stack.enter_context(Link(f"redis://127.0.0.1:{port}"))
        link.command("DEL", STREAM, DEAD)
        link.command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
        policy = ["VISIBILITY", arguments.visibility_ms, "MAXDELIVER", DELIVERIES_MAX, "DEAD", DEAD]
        link.command("XGROUP", "POLICY", STREAM, GROUP, *policy)
        started = time.monotonic()
        sizes = {"size": arguments.consumers, "visibility_ms": arguments.visibility_ms}
        crew = Crew(port, folder, source, **sizes)
        task = 1
        while task <= arguments.tasks or not is_done(link):
            if task <= arguments.tasks:
                task = produce(link, task, arguments.tasks)
            time.sleep(source.uniform(*KILL_SECONDS))
            crew.kill_one()
            if time.monotonic() - started > SECONDS_MAX:
                break
        finished = is_done(link)
        lives = crew.end()
        letters = dead_letters(link)
        seconds = time.monotonic() - started
    events = Counter(what for life in lives for what, _ in life)
    broken = judge(arguments.tasks, lives, letters)
    if not finished:
        broken.append(f"not done after {SECONDS_MAX:.0f} seconds")
    print(
        f"{arguments.tasks} tasks in {seconds:.1f} s; {crew.begun} consumers, {crew.kills} killed"
    )
    print(f"{events['got']} deliveries, {events['one']} times XACK answered 1, {events['none']} 0")
    print(f"{len(letters)} dead letters")
    print("\n".join(f"BROKEN: {promise}" for promise in broken) or "every promise was kept")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
