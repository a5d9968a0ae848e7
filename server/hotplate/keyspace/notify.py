"""Keyspace notifications: which events belong to which class, and what is published of them.

    K  __keyspace@<db>__:<key>    says the event      E  __keyevent@<db>__:<event>   says the key
    g  keys of any type           $ l s h z t         strings, lists, sets, hashes, sorted sets,
    x  expired     e  evicted                         streams
    d  modules (there are none)   A                   all of these
    m  keymiss     n  new         o  overwritten      c  type_changed: only where they are named

Databases tell changes to their `observer`, and to their `witness` what is no change of its own (m,
n, o, c). Neither is there while the setting is empty. This module knows no client: it gets the
function that publishes.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

ALL_LETTERS: Final = "g$lshzxetd"
WITNESS_LETTERS: Final = "mnoc"

_EVENTS: Final[Mapping[str, Iterable[str]]] = {
    "$": ("set", "setrange", "append", "incrby", "incrbyfloat", "setbit", "pfadd"),
    "l": ("lpush", "rpush", "lpop", "rpop", "linsert", "lset", "lrem", "ltrim", "sortstore"),
    "s": ("sadd", "srem", "spop", "sinterstore", "sunionstore", "sdiffstore"),
    "h": (
        *("hset", "hincrby", "hincrbyfloat", "hdel"),
        *("hexpire", "hexpired", "hpersist"),
    ),
    "z": (
        *("zadd", "zincr", "zrem", "zpopmin", "zpopmax"),
        *("zremrangebyrank", "zremrangebyscore", "zremrangebylex"),
        *("zrangestore", "zunionstore", "zinterstore", "zdiffstore"),
        *("geosearchstore", "georadiusstore"),
    ),
    "t": (
        *("xadd", "xdel", "xtrim", "xsetid", "xgroup-create", "xgroup-createconsumer"),
        *("xgroup-delconsumer", "xgroup-destroy", "xgroup-setid", "xnack"),
    ),
    "x": ("expired",),
    "e": ("evicted",),
    "m": ("keymiss",),
    "n": ("new",),
    "o": ("overwritten",),
    "c": ("type_changed",),
    "g": (
        *("del", "expire", "persist", "rename_from", "rename_to", "move_from", "move_to"),
        *("copy_to", "restore"),
        *("acquire", "extend", "settle", "throttle"),  # of limits
        *("queue-create", "queue-rate", "queue-pause", "queue-resume"),  # of paced queues
        *("enqueue", "release", "cancel", "expire-entry"),
    ),
}
CLASS_OF_EVENT: Final[Mapping[str, str]] = {
    event: letter for letter, events in _EVENTS.items() for event in events
}


class Notifications:
    """What `notify-keyspace-events` asks for."""

    __slots__ = ("_publish", "letters")

    def __init__(self, publish: Callable[[bytes, bytes], object]) -> None:
        self._publish = publish
        self.letters = ""

    def configure(self, letters: str) -> None:
        """The setting's text: `A` stands for several; without K and E nothing is published."""
        named = letters.replace("A", ALL_LETTERS)
        self.letters = named if "K" in named or "E" in named else ""

    def hears_changes(self) -> bool:
        """Whether any change is to be told."""
        return any(letter in self.letters for letter in ALL_LETTERS)

    def hears_witness(self) -> bool:
        """Whether anything else is: misses, new, overwritten keys, what happens to groups."""
        return any(letter in self.letters for letter in WITNESS_LETTERS + "t")

    def tell(self, index: int, key: bytes, event: str) -> None:
        """Publish an event of database `index`, if its class is asked for."""
        letters = self.letters
        if CLASS_OF_EVENT.get(event, "g") in letters:
            name = event.encode()
            if "K" in letters:
                self._publish(b"__keyspace@%d__:%b" % (index, key), name)
            if "E" in letters:
                self._publish(b"__keyevent@%d__:%b" % (index, name), key)
