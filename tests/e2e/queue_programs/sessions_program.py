"""Chats kept by libraries: LangChain's community history, and openai-agents' RedisSession.

python sessions_program.py PORT
"""

import asyncio
import sys

from agents.extensions.memory.redis_session import RedisSession
from langchain_community.chat_message_histories import RedisChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage


def langchain(url: str) -> None:
    """LangChain keeps messages in a list that expires."""
    history = RedisChatMessageHistory("one", url=url, ttl=600)
    history.add_messages([HumanMessage("Hello"), AIMessage("Good day")])
    history.add_user_message("How are you?")
    same = RedisChatMessageHistory("one", url=url)
    assert [message.content for message in same.messages] == ["Hello", "Good day", "How are you?"]
    assert RedisChatMessageHistory("two", url=url).messages == []
    assert 0 < history.redis_client.ttl("message_store:one") <= 600
    history.clear()
    assert same.messages == []


async def openai_agents(url: str) -> None:
    """openai-agents keeps items in a list beside a hash, under WATCH and MULTI."""
    session = RedisSession.from_url("one", url=url, ttl=600)
    other = RedisSession.from_url("one", url=url)
    assert await session.ping()
    items = [{"role": "user", "content": f"turn {number}"} for number in range(10)]
    await session.add_items(items[:4])
    await asyncio.gather(session.add_items(items[4:7]), other.add_items(items[7:]))
    found = await other.get_items()
    assert found[:4] == items[:4]
    assert sorted(item["content"] for item in found) == [item["content"] for item in items]
    assert await session.get_items(limit=3) == found[-3:]
    assert await session.pop_item() == found[-1]
    assert await other.get_items() == found[:-1]
    await session.clear_session()
    assert await other.get_items() == []
    assert await other.pop_item() is None
    await session.close()
    await other.close()


if __name__ == "__main__":
    server = f"redis://127.0.0.1:{sys.argv[1]}"
    langchain(server)
    asyncio.run(openai_agents(server))
    print("done")
