"""Keyspace events: what is published for which command, and for which setting."""

import ast
from pathlib import Path

import pytest
from tests.arch.source_tree import REPOSITORY
from tests.testing.subscriber import Subscriber

from hotplate.commands import values
from hotplate.keyspace.notify import CLASS_OF_EVENT


class Watchman:
    """Sends commands and hears the events that they make."""

    def __init__(self, classes: str) -> None:
        self.ear = Subscriber(resp=3)
        self.ear("CONFIG", "SET", "notify-keyspace-events", classes)
        self.ear.listen("PSUBSCRIBE", "__key*")
        self.voice = Subscriber(self.ear.engine)

    def events(self, *lines: str) -> list[str]:
        """The channels and messages of these commands' events, `@db__:` left out."""
        for line in lines:
            self.voice(line)
        return [
            f"{channel.decode()} {message.decode()}" for _, _, channel, message in self.ear.heard()
        ]

    def names(self, *lines: str) -> list[str]:
        """The same, as `event key`, for the setting E in database 0."""
        return [text.removeprefix("__keyevent@0__:") for text in self.events(*lines)]


def test_an_event_is_published_for_the_key_and_for_the_event() -> None:
    watchman = Watchman("KEA")
    assert watchman.events("SELECT 3", "SET k v") == [
        "__keyspace@3__:k set",
        "__keyevent@3__:set k",
    ]
    assert Watchman("KA").events("SET k v") == ["__keyspace@0__:k set"]
    assert Watchman("EA").events("SET k v") == ["__keyevent@0__:set k"]


@pytest.mark.parametrize("classes", ["", "A", "g$", "KE", "El", "KEmo"])
def test_nothing_is_published_without_a_channel_and_a_class(classes: str) -> None:
    assert Watchman(classes).events("SET k v", "DEL k") == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("SET k v", "set k"),
        ("SET k v EX 10", "set k,expire k"),
        ("SETEX k 10 v", "set k,expire k"),
        ("MSET a 1 b 2", "set a,set b"),
        ("MSETNX a 1 b 2", "set a,set b"),
        ("SET k 1|INCR k|DECRBY k 3|INCRBYFLOAT k 1", "set k,incrby k,incrby k,incrbyfloat k"),
        ("SET k v|APPEND k v|SETRANGE k 0 x", "set k,append k,setrange k"),
        ("SET k v|GETDEL k", "set k,del k"),
        ("SET k v|DEL k nope|UNLINK k", "set k,del k"),
        ("SET k v|GETEX k EX 10|GETEX k PERSIST", "set k,expire k,persist k"),
        ("SET k v|EXPIRE k 10|PERSIST k|EXPIRE k 0", "set k,expire k,persist k,del k"),
        ("SET k v|RENAME k q", "set k,rename_from k,rename_to q"),
        ("SET k v|COPY k q", "set k,copy_to q"),
        ("SETNX k v|SETNX k w", "set k"),
        ("GETSET k v", "set k"),
        ("GET nope|TTL nope|DEL nope|EXPIRE nope 10|FLUSHALL", ""),
    ],
)
def test_commands_tell_the_events_of_redis(lines: str, expected: str) -> None:
    assert ",".join(Watchman("EA").names(*lines.split("|"))) == expected


def test_moving_is_told_in_both_databases() -> None:
    assert Watchman("EA").events("SET k v", "MOVE k 1") == [
        "__keyevent@0__:set k",
        "__keyevent@0__:move_from k",
        "__keyevent@1__:move_to k",
    ]


def test_keys_that_expire_are_told_by_whoever_finds_them() -> None:
    watchman = Watchman("Ex")
    engine = watchman.ear.engine
    watchman.voice("SET a v PX 10")
    watchman.voice("SET b v PX 10")
    watchman.voice.clock = watchman.ear.clock
    watchman.ear.clock.advance(11)
    assert watchman.names("GET a") == ["expired a"]
    engine.expire_keys(engine.clock.now_ms())
    assert watchman.names() == ["expired b"]


# -- what is no change -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("GET nope|STRLEN nope|EXISTS nope|TYPE nope|TTL nope|TOUCH nope", 6 * "keymiss nope,"),
        ("MGET nope k", "keymiss nope,keymiss k,"),
        ("SET nope v GET", "keymiss nope,"),
        ("OBJECT ENCODING nope|DEL nope|EXPIRE nope 1|PERSIST nope", ""),
        ("SET k v|GET k", ""),
    ],
)
def test_a_read_that_finds_nothing_may_be_told(lines: str, expected: str) -> None:
    names = Watchman("Em").names(*lines.split("|"))
    assert "".join(name + "," for name in names) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("SET k v|SET k w|DEL k|SET k v", "new k,new k"),
        ("SET k v EX 10", "new k"),
        ("MSET a 1 b 2|MSET a 1 b 2", "new a,new b"),
        ("INCR k|INCR k|APPEND a v", "new k,new a"),
        ("SET k v|RENAME k q", "new k,new q"),
        ("SET k v|COPY k q|COPY k q REPLACE", "new k,new q,new q"),
    ],
)
def test_a_new_key_may_be_told(lines: str, expected: str) -> None:
    assert ",".join(Watchman("En").names(*lines.split("|"))) == expected


def test_new_comes_before_what_made_it() -> None:
    assert Watchman("EAn").names("SET k v", "RENAME k q") == [
        "new k",
        "set k",
        "new q",
        "rename_from k",
        "rename_to q",
    ]


def test_a_value_that_takes_anothers_place_may_be_told() -> None:
    watchman = Watchman("E$goc")
    assert watchman.names("SET k v", "SET k w", "APPEND k x", "INCRBYFLOAT f 1") == [
        "set k",
        "overwritten k",
        "set k",
        "append k",
        "incrbyfloat f",
    ]
    assert watchman.names("SET a v", "RENAME a k")[1:] == [
        "rename_from a",
        "rename_to k",
        "overwritten k",
    ]
    assert watchman.names("COPY f k REPLACE") == ["copy_to k", "overwritten k"]


def test_what_is_no_change_is_none_to_others() -> None:
    watchman = Watchman("KEmn")
    watcher = Subscriber(watchman.ear.engine)
    watcher("WATCH nope")
    dirty = watchman.ear.engine.databases[0].dirty
    watchman.events("GET nope")
    assert watchman.ear.engine.databases[0].dirty == dirty
    watcher("MULTI")
    assert watcher("EXEC") == []


# -- the setting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("KEA", "AKE"),
        ("KEg$lshzxetd", "AKE"),
        ("nm$", "$mn"),
        ("EEE", "E"),
        ("cokA", None),
        ("", ""),
        ("foo", None),
    ],
)
def test_the_setting_is_shown_in_one_order(given: str, shown: str | None) -> None:
    console = Subscriber()
    if shown is None:
        assert console.refused("CONFIG", "SET", "notify-keyspace-events", given) == (
            "ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') -"
            " Invalid event class character. Use 'Ag$lshzxeKEtmdnoc'."
        )
    else:
        console("CONFIG", "SET", "notify-keyspace-events", given)
        reply = console("CONFIG GET notify-keyspace-events")
        assert reply == [b"notify-keyspace-events", shown.encode()]


def test_an_empty_setting_leaves_the_databases_without_observer() -> None:
    watchman = Watchman("KEAmn")
    database = watchman.ear.engine.databases[0]
    assert database.observer is not None
    assert database.witness is not None
    watchman.ear("CONFIG", "SET", "notify-keyspace-events", "")
    assert database.observer is None
    assert database.witness is None
    assert watchman.events("SET k v") == []


def test_every_event_that_a_command_tells_has_a_class() -> None:
    folder = Path(values.__file__).parent
    assert folder.is_relative_to(REPOSITORY)
    told = {
        argument.value
        for path in folder.glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and _name(call) in ("changed", "settle", "observer")
        for argument in call.args[-1:]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
    assert {"set", "del", "rename_to"} <= told
    assert told <= set(CLASS_OF_EVENT)


def _name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
