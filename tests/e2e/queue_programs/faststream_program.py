"""FastStream: subscribers of a stream with a group, of a list, of a channel and of a pattern.

python faststream_program.py PORT
"""

import asyncio
import sys

from faststream import FastStream
from faststream.redis import ListSub, PubSub, RedisBroker, StreamSub
from redis.asyncio import Redis


async def run(port: str) -> None:
    """Subscribe to all kinds, publish, and wait for what comes."""
    broker = RedisBroker(f"redis://127.0.0.1:{port}")
    app = FastStream(broker)
    got: dict[str, list[int]] = {"stream": [], "plain": [], "list": [], "batch": [], "channel": []}
    arrived = asyncio.Event()

    def keep(kind: str, *numbers: int) -> None:
        got[kind] += numbers
        if sum(map(len, got.values())) == 50:
            arrived.set()

    @broker.subscriber(stream=StreamSub("tasks", group="g", consumer="one"))
    async def from_group(number: int) -> None:
        keep("stream", number)

    @broker.subscriber(stream=StreamSub("plain", last_id="0"))
    async def from_stream(number: int) -> None:
        keep("plain", number)

    @broker.subscriber(list="list")
    async def from_list(number: int) -> None:
        keep("list", number)

    @broker.subscriber(list=ListSub("batch", batch=True, max_records=5))
    async def from_batch(numbers: list[int]) -> None:
        keep("batch", *numbers)

    @broker.subscriber(channel=PubSub("news.*", pattern=True))
    async def from_channel(number: int) -> None:
        keep("channel", number)

    @broker.subscriber(channel="double")
    async def answer(number: int) -> int:
        return 2 * number

    serving = asyncio.create_task(app.run())
    async with Redis(port=int(port)) as client:
        while (
            await client.pubsub_numpat() != 1 or (await client.pubsub_numsub("double"))[0][1] != 1
        ):
            await asyncio.sleep(0.02)  # messages to nobody are lost; entries of streams are not
    for number in range(10):
        await broker.publish(number, stream="tasks")
        await broker.publish(number, stream="plain")
        await broker.publish(number, list="list")
        await broker.publish(number, channel="news.today")
    await broker.publish_batch(*range(10), list="batch")
    await asyncio.wait_for(arrived.wait(), 30)
    assert all(sorted(numbers) == list(range(10)) for numbers in got.values()), got
    reply = await broker.request(21, channel="double", timeout=10)
    assert await reply.decode() == 42
    app.exit()
    await serving


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1]))
    print("done")
