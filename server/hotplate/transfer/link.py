"""A connection that runs many commands in one go, errors being replies like others."""

from collections.abc import Sequence
from typing import Any, Final, Self, TypeAlias

import redis
from redis.exceptions import ResponseError

Argv: TypeAlias = Sequence[bytes | str | int]
_UNKNOWN: Final = "unknown command"


class Link:
    """One connection to `redis://[user:password@]host:port[/db]`, `rediss://` or `unix://`.

    redis.exceptions.ConnectionError where there is nobody, AuthenticationError where one must know
    a password.
    """

    __slots__ = ("_client", "_connection", "database", "url")

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = redis.Redis.from_url(url, protocol=2)
        self._connection: Any = self._client.connection_pool.get_connection()
        self.database = -1  # the one selected; not known yet

    def run(self, commands: Sequence[Argv]) -> list[Any]:
        """The replies; an error is a ResponseError among them."""
        connection = self._connection
        connection.send_packed_command(connection.pack_commands(commands))
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(connection.read_response())
            except ResponseError as error:
                replies.append(error)
        return replies

    def call(self, *argv: bytes | str | int) -> Any:
        """One command; ResponseError where it is refused."""
        reply = self.run([argv])[0]
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    def knows(self, *argv: bytes | str | int) -> bool:
        """Whether the server has a command."""
        reply = self.run([argv])[0]
        return not (isinstance(reply, ResponseError) and _UNKNOWN in str(reply))

    def select(self, database: int) -> None:
        """Work with a database from now on."""
        if database != self.database:
            self.call("SELECT", database)
            self.database = database

    def sizes(self) -> dict[int, int]:
        """How many keys each database has that has any."""
        text: bytes = self.call("INFO", "keyspace")
        sizes: dict[int, int] = {}
        for line in text.decode().splitlines():
            name, _, about = line.partition(":keys=")
            if about and name[2:].isdigit():
                sizes[int(name[2:])] = int(about.split(",")[0])
        return sizes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.connection_pool.disconnect()
