"""Every command is called, in both protocols, and answers what its schema says.

A scene of commands in order, each on what those before it left. The consoles hold every reply
against the schema; a command that is missing here fails the test.
"""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.testing.console import Console
from tests.testing.kvc_context import KvcServer
from tests.testing.manual_timers import ManualTimers
from tests.testing.server_console import ServerConsole
from tests.testing.subscriber import Subscriber

from hotplate.commands import build_registry
from hotplate.config import Config

# `!` before a command: it answers an error
CONNECTION = """
HELLO | PING | PING hello | ECHO hello | SELECT 1 | SELECT 0 | !AUTH nobody secret | TIME | ROLE
CLIENT ID | CLIENT INFO | CLIENT LIST | CLIENT LIST TYPE normal | CLIENT SETNAME me
CLIENT GETNAME | CLIENT SETINFO LIB-NAME test | CLIENT NO-EVICT on | CLIENT NO-TOUCH off
CLIENT REPLY ON | CLIENT KILL ID 999 | CLIENT UNBLOCK 999 | CLIENT HELP | CLIENT GETREDIR
CLIENT TRACKINGINFO | CLIENT TRACKING on OPTIN REDIRECT 1 | CLIENT CACHING yes
CLIENT TRACKING off | CLIENT PAUSE 1 WRITE | CLIENT UNPAUSE
INFO | INFO server | LOLWUT | SLAVEOF no one | REPLICAOF no one | !SYNC | !PSYNC ? -1
!CLUSTER INFO | CONFIG GET maxmem* | CONFIG SET hz 10 | CONFIG RESETSTAT | !CONFIG REWRITE
CONFIG HELP | DEBUG SET-ACTIVE-EXPIRE 1 | COMMAND | COMMAND COUNT | COMMAND INFO get nothing
COMMAND DOCS get | COMMAND LIST | COMMAND GETKEYS GET a | COMMAND GETKEYSANDFLAGS GET a
COMMAND HELP | !SHUTDOWN ABORT | MEMORY DOCTOR | MEMORY STATS | MEMORY MALLOC-STATS
MEMORY PURGE | MEMORY HELP | SLOWLOG GET | SLOWLOG LEN | SLOWLOG RESET | SLOWLOG HELP
LATENCY LATEST | LATENCY HISTORY command | LATENCY RESET | LATENCY DOCTOR | LATENCY HISTOGRAM
LATENCY HELP | WAIT 0 0 | WAITAOF 0 0 0 | RESET
"""
KEYS = """
SET a 1 | SET b text EX 100 GET | GET a | GET nothing | SETNX c 1 | SETEX d 10 v | PSETEX e 10000 v
GETSET a 2 | GETDEL c | GETEX d EX 100 | MGET a b nothing | MSET x 1 y 2 | MSETNX x 1 z 2
APPEND b more | STRLEN b | SETRANGE b 1 X | SUBSTR b 0 1 | GETRANGE b 0 -1 | INCR a | DECR a
INCRBY a 5 | DECRBY a 2 | INCRBYFLOAT a 0.5 | INCREX counter BYINT 1 UBOUND 5 EX 10 ENX
MSET l1 ohmytext l2 mynewtext | LCS l1 l2 | LCS l1 l2 LEN | LCS l1 l2 IDX WITHMATCHLEN
EXISTS a b | TOUCH a | TYPE a | TYPE nothing | RENAME x w | RENAMENX w x | COPY x w | MOVE w 1
OBJECT ENCODING a | OBJECT IDLETIME a | OBJECT REFCOUNT a | !OBJECT FREQ a | OBJECT HELP
EXPIRE a 100 | PEXPIRE a 100000 NX | EXPIREAT a 4102444800 | PEXPIREAT a 4102444800000
TTL a | PTTL a | EXPIRETIME a | PEXPIRETIME a | PERSIST a | KEYS * | SCAN 0 COUNT 5 | RANDOMKEY
DBSIZE | MEMORY USAGE a | DUMP a | DUMP nothing | UNLINK x | DEL y nothing | SWAPDB 0 1 | SWAPDB 0 1
SETBIT bits 7 1 | GETBIT bits 7 | BITCOUNT bits | BITPOS bits 1 | BITOP NOT bits2 bits
BITFIELD bits GET u8 0 SET u4 0 3 OVERFLOW FAIL INCRBY u2 0 3 | BITFIELD_RO bits GET u8 0
PFADD h1 a b | PFADD h2 b c | PFCOUNT h1 h2 | PFMERGE h3 h1 h2 | PFDEBUG ENCODING h1 | PFSELFTEST
WATCH a | MULTI | GET a | INCR nothing2 | LRANGE list 0 -1 | HGETALL hash | LPUSH a wrong | EXEC
MULTI | DISCARD | WATCH a | UNWATCH | FLUSHDB | FLUSHALL
"""
HASHES = """
HSET h a 1 b 2 c text | HMSET h d 4 | HSETNX h e 5 | HGET h a | HGET h nothing | HMGET h a nothing
HLEN h | HSTRLEN h c | HEXISTS h a | HDEL h e | HINCRBY h a 5 | HINCRBYFLOAT h a 0.5 | HGETALL h
HGETALL nothing | HKEYS h | HVALS h | HRANDFIELD h | HRANDFIELD h 2 | HRANDFIELD h 2 WITHVALUES
HRANDFIELD nothing | HSCAN h 0 | HSCAN h 0 NOVALUES | HEXPIRE h 100 FIELDS 2 a nothing
HPEXPIRE h 100000 FIELDS 1 a | HEXPIREAT h 4102444800 FIELDS 1 a
HPEXPIREAT h 4102444800000 FIELDS 1 a | HTTL h FIELDS 2 a b | HPTTL h FIELDS 1 a
HEXPIRETIME h FIELDS 1 a | HPEXPIRETIME h FIELDS 1 a | HPERSIST h FIELDS 1 a
HSETEX h EX 100 FIELDS 1 a 1 | HGETEX h PERSIST FIELDS 2 a nothing | HGETDEL h FIELDS 2 a nothing
"""
LISTS = """
RPUSH l a b c d e | LPUSH l z | LPUSHX l y | RPUSHX nothing x | LLEN l | LRANGE l 0 -1 | LINDEX l 0
LINDEX l 99 | LPOS l c | LPOS l c COUNT 0 | LPOS l nothing | LSET l 0 A | LINSERT l BEFORE c x
LREM l 1 x | LTRIM l 0 9 | LMOVE l m LEFT RIGHT | RPOPLPUSH l m | LPOP l | RPOP l 2 | LPOP nothing
LPOP nothing 2 | LMPOP 2 nothing m LEFT COUNT 2 | LMPOP 1 nothing LEFT | RPUSH l 1 2 3 4 5 6 7
BLPOP nothing l 1 | BRPOP l 1 | BLMOVE l m LEFT LEFT 1 | BRPOPLPUSH l m 1 | BLMPOP 1 1 l RIGHT
RPUSH numbers 3 1 2 | SORT numbers | SORT numbers BY nosort GET # | SORT numbers STORE sorted
SORT_RO numbers DESC LIMIT 0 2 | MULTI | BLPOP nothing 1 | BLMPOP 1 1 nothing LEFT | EXEC
"""
SETS = """
SADD s a b c d | SADD s2 b c x | SREM s d | SCARD s | SISMEMBER s a | SMISMEMBER s a nothing
SMEMBERS s | SRANDMEMBER s | SRANDMEMBER s 2 | SRANDMEMBER nothing | SMOVE s s2 a | SSCAN s 0
SINTER s s2 | SINTERSTORE s3 s s2 | SINTERCARD 2 s s2 LIMIT 1 | SUNION s s2 | SUNIONSTORE s3 s s2
SDIFF s s2 | SDIFFSTORE s3 s2 s | SPOP s2 | SPOP s2 2 | SPOP nothing
ZADD z 1 a 2 b 3.5 c inf d | ZADD z XX CH GT 9 a | ZADD z INCR 1 a | ZADD z NX INCR 1 a
ZINCRBY z 2 b | ZREM z d | ZCARD z | ZSCORE z a | ZSCORE z nothing | ZMSCORE z a nothing
ZCOUNT z -inf +inf | ZLEXCOUNT z - + | ZRANK z a | ZRANK z a WITHSCORE | ZREVRANK z a WITHSCORE
ZRANK z nothing | ZRANGE z 0 -1 | ZRANGE z 0 -1 WITHSCORES | ZRANGESTORE z2 z 0 -1
ZREVRANGE z 0 -1 WITHSCORES | ZRANGEBYSCORE z -inf +inf WITHSCORES LIMIT 0 1
ZREVRANGEBYSCORE z +inf -inf | ZADD lex 0 a 0 b 0 c | ZRANGEBYLEX lex - + | ZREVRANGEBYLEX lex + -
ZREMRANGEBYLEX lex [a (b | ZREMRANGEBYRANK lex 0 0 | ZREMRANGEBYSCORE lex -inf +inf
ZRANDMEMBER z | ZRANDMEMBER z 2 | ZRANDMEMBER z 2 WITHSCORES | ZRANDMEMBER nothing | ZSCAN z 0
ZUNION 2 z z2 | ZUNION 2 z z2 WITHSCORES | ZUNIONSTORE z3 2 z z2 WEIGHTS 1 2
ZINTER 2 z z2 WITHSCORES
ZINTERSTORE z3 2 z z2 AGGREGATE MAX | ZDIFF 2 z nothing WITHSCORES | ZDIFFSTORE z4 2 z nothing
ZINTERCARD 2 z z2 | ZPOPMIN z3 | ZPOPMAX z3 2 | ZPOPMIN nothing | ZMPOP 1 z4 MIN COUNT 2
ZMPOP 1 nothing MIN | BZPOPMIN z2 1 | BZPOPMAX z2 1 | BZMPOP 1 1 z MAX | MULTI | BZPOPMIN nothing 1
BZMPOP 1 1 nothing MIN | EXEC
GEOADD g 13.36 38.11 Palermo 15.08 37.50 Catania | GEOPOS g Palermo nothing
GEOHASH g Palermo nothing
GEODIST g Palermo Catania km | GEODIST g Palermo nothing | GEORADIUS g 15 37 200 km
GEORADIUS g 15 37 200 km WITHDIST WITHCOORD WITHHASH | GEORADIUS_RO g 15 37 200 km ASC
GEORADIUSBYMEMBER g Palermo 200 km WITHDIST | GEORADIUSBYMEMBER_RO g Palermo 200 km
GEORADIUS g 15 37 200 km STORE g3 | GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHCOORD
GEOSEARCH g FROMMEMBER Palermo BYRADIUS 9 km | GEOSEARCHSTORE g2 g FROMLONLAT 15 37 BYRADIUS 200 km
"""
STREAMS = """
XADD st 1-1 a 1 | XADD st * a 2 | XADD st NOMKSTREAM MAXLEN ~ 100 * a 3 | XADD none NOMKSTREAM * a 1
XADD st IDMP p 1 * a 4 | XLEN st | XRANGE st - + | XREVRANGE st + - COUNT 1
XSETID st 9999999999999-1
XCFGSET st IDMP-DURATION 10 | XTRIM st MAXLEN 100 | XREAD COUNT 1 STREAMS st 0 | XREAD STREAMS st $
XGROUP CREATE st grp 0 | XGROUP CREATECONSUMER st grp c2
XREADGROUP GROUP grp c COUNT 2 STREAMS st >
XREADGROUP GROUP grp c STREAMS st 0 | XREADGROUP GROUP grp c COUNT 1 STREAMS st > | XPENDING st grp
XPENDING st grp - + 10 | XCLAIM st grp c2 0 1-1 | XCLAIM st grp c2 0 1-1 JUSTID
XNACK st grp FAIL IDS 1 1-1 | XRELEASE st grp 1-1 1 0 | XRELEASE st grp 9-9 1 0
XREADGROUP GROUP grp c CLAIM 0 STREAMS st > | XAUTOCLAIM st grp c2 0 0
XAUTOCLAIM st grp c2 0 0 JUSTID
XINFO STREAM st | XINFO STREAM st FULL | XINFO GROUPS st | XINFO CONSUMERS st grp | XINFO HELP
XGROUP POLICY st grp VISIBILITY 1000 | XGROUP SETID st grp 0 | XACK st grp 1-1
XACKDEL st grp IDS 1 1-1
XDELEX st IDS 1 1-1 | XDEL st 1-1 | XGROUP DELCONSUMER st grp c2 | XGROUP DESTROY st grp
XGROUP HELP
"""
LIMITS = """
CL.THROTTLE t 5 1 1 | CL.THROTTLE t 5 1 1 100
LB.ACQUIRE 2 r c LIMIT RATE 10 1 1000 5 2 CONC 1 ID one
LB.ACQUIRE 2 r c LIMIT RATE 10 1 1000 5 2 CONC 1 | LB.EXTEND one 1000 2 r c | LB.INFO r | LB.INFO c
LB.INFO nothing | LB.SETTLE one 2 r c ACTUAL 3 0 | LB.CANCEL one 2 r c | LB.RESET r
LBQ.CREATE q INTO out RATE 1 1000 CLASSES 2 CAPACITY 2 DEAD d OVERFLOW DROPOLDEST
LBQ.ADD q FIELDS 1 a b | LBQ.ADD q CLASS 1 DELAY 10 FIELDS 1 a b | LBQ.ADD q FIELDS 1 a b
LBQ.LEN q
LBQ.RANGE q 0 -1 | LBQ.INFO q | LBQ.PAUSE q | LBQ.RESUME q | LBQ.RATE q 2 1000
LBQ.CANCEL q nobody | LBQ.RELEASE q
"""
SCRIPTS = r"""
EVAL "return {1, 'two', {3}, redis.call('SET', KEYS[1], 'v')}" 1 k
EVAL_RO "return redis.call('GET', KEYS[1])" 1 k
SCRIPT LOAD "return 1" | EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db none
!SCRIPT KILL | SCRIPT DEBUG NO | SCRIPT HELP | SCRIPT FLUSH
FUNCTION LOAD LIBRARY
FUNCTION LIST | FUNCTION LIST WITHCODE | FCALL f 0 | FCALL_RO f 0 | FUNCTION STATS | FUNCTION DUMP
!FUNCTION RESTORE junk | !FUNCTION KILL | FUNCTION HELP | FUNCTION DELETE lib | FUNCTION FLUSH
"""
PUBSUB = """
PUBLISH ch m | SPUBLISH ch m | PUBSUB CHANNELS | PUBSUB NUMSUB ch | PUBSUB NUMPAT
PUBSUB SHARDCHANNELS
PUBSUB SHARDNUMSUB ch | PUBSUB HELP | SUBSCRIBE ch other | PSUBSCRIBE p* | SSUBSCRIBE sh
UNSUBSCRIBE ch | PUNSUBSCRIBE | SUNSUBSCRIBE | UNSUBSCRIBE
"""
KVC = """
KVC.STORAGE HELP | KVC.STORAGE LIST | KVC.STORAGE INFO memory | KVC.STORAGE DISABLE ssd
KVC.STORAGE ENABLE ssd | KVC.STORAGE UPDATE memory MAP 0 | KVC.GROUP HELP
KVC.GROUP CREATE team STORAGES 1 memory | KVC.GROUP UPDATE team VERSION 1 RETAIN 0.1
KVC.GROUP LIST | KVC.GROUP INFO team | KVC.INSTANCE HELP
KVC.INSTANCE REGISTER one GROUP team BLOCKTOKENS 2 SPEC a 3 SPEC b 4 | KVC.INSTANCE LIST
KVC.INSTANCE INFO one | KVC.PUT one 2 k1 1234567 k2 1234567 | KVC.GETLOC one KEYS 3 k1 k2 k3
KVC.META one KEYS 2 k1 k3 | KVC.LEASE one none RELEASE | KVC.READ one k1
KVC.MREAD one KEYS 2 k1 k3 | KVC.STATS | KVC.STATS group team | KVC.EXPLAIN one KEYS 1 k1
KVC.RETAIN one PRIORITY 1 TTL 10 KEYS 1 k1 | KVC.RECLAIM team DRYRUN | KVC.RECLAIM team
KVC.REMOVE one KEYS 1 k2 | KVC.TRIM one ALL | KVC.INSTANCE REMOVE one FORCE
KVC.GROUP REMOVE team FORCE
"""
# words that would not fit on a line
LONG = {
    "LIBRARY": "#!lua name=lib\nredis.register_function{function_name='f',"
    " callback=function() return 1 end, flags={'no-writes'}}"
}
SCENES = {
    "connection": CONNECTION,
    "keys": KEYS,
    "hashes": HASHES,
    "lists": LISTS,
    "sets": SETS,
    "streams": STREAMS,
    "limits": LIMITS,
    "scripts": SCRIPTS,
    "publishing": PUBSUB,
}
# called by the tests beside this list, as they need more than words: bytes, ids, a way out
ELSEWHERE = {
    *("QUIT", "RESTORE", "KVC.STORAGE|ADD", "KVC.STORAGE|REMOVE"),
    *("KVC.STARTWRITE", "KVC.WRITE", "KVC.FINISH"),
    *("SAVE", "BGSAVE", "LASTSAVE", "BGREWRITEAOF"),  # need a data directory: tests/e2e
}


def calls(scene: str) -> Iterator[tuple[list[str], bool]]:
    """The words of each command, and whether it answers an error."""
    for part in scene.replace("\n", " | ").split(" | "):
        words = shlex.split(part.strip().removeprefix("!"))
        if words:
            yield [LONG.get(word, word) for word in words], part.lstrip()[0] == "!"


def play(console: Console, scene: str) -> set[str]:
    """Run a scene: the commands that were called."""
    called: set[str] = set()
    for words, is_refused in calls(scene):
        command = console.engine.commands.find("|".join(words[:2]).encode())
        command = command or console.engine.commands.find(words[0].encode())
        assert command is not None, words
        frames = console.execute([word.encode() for word in words])
        assert frames, f"{words} answers nothing"
        if frames != b"+QUEUED\r\n":
            assert (frames[:1] == b"-") == is_refused, (words, frames)
        called.add(command.spec.name)
    return called


def console_for(scene: str, resp: int) -> Console:
    """A fresh server with that client."""
    if scene == "publishing":
        return Subscriber(resp=resp)
    config = Config()
    config.enable_debug_command = "yes"
    console = ServerConsole(resp=resp, config=config)
    console.engine.after = ManualTimers(console.clock).after
    return console


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("scene", list(SCENES))
def test_every_reply_fits_its_schema(scene: str, resp: int) -> None:
    play(console_for(scene, resp), SCENES[scene])


@pytest.mark.parametrize("resp", [2, 3])
def test_every_reply_of_the_kv_cache_fits_its_schema(tmp_path: Path, resp: int) -> None:
    server = KvcServer(tmp_path)
    client = server.client(resp)  # it checks what it gets
    for words, _ in calls(KVC):
        client(*words)
    storage = f"KVC.STORAGE ADD extra TYPE memory PATH {tmp_path / 'extra'} CAPACITY 1048576"
    assert client.line(f"{storage} SEGMENT 65536") == b"OK"
    assert client.line("KVC.STORAGE REMOVE extra") == b"OK"
    client.line("KVC.INSTANCE REGISTER one GROUP default BLOCKTOKENS 2 SPEC a 3 SPEC b 4")
    session, _, _ = client.line("KVC.STARTWRITE one KEYS 1 k1")
    assert client("KVC.WRITE", "one", session, 0, "1234567") == b"OK"
    assert client("KVC.FINISH", "one", session) == [1, 0]
    server.close()


def test_no_command_is_left_out() -> None:
    registry = build_registry()
    called = set(ELSEWHERE)
    for scene in [*SCENES.values(), KVC]:
        for words, _ in calls(scene):
            command = registry.find("|".join(words[:2]).encode()) or registry.find(
                words[0].encode()
            )
            assert command is not None, words
            called.add(command.spec.name)
    there = {command.spec.name for command in registry.walk() if command.handler is not None}
    assert called == there


@pytest.mark.parametrize("resp", [2, 3])
def test_the_replies_of_quit_and_restore_fit_their_schemas(resp: int) -> None:
    console = ServerConsole(resp=resp)
    console("SET a text")
    assert console("RESTORE", "b", 0, console("DUMP a")) == b"OK"
    assert console("QUIT") == b"OK"
