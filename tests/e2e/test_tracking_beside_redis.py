"""CLIENT TRACKING and CLIENT PAUSE on a real Redis and on Hotplate, scene by scene.

`a: PING` at the end shows that nothing was pushed to `a` before.
"""

import pytest
from tests.testing.scenes import different_scenes

from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e

ANY_PROTOCOL = {
    "off by default": "a: CLIENT GETREDIR|a: CLIENT TRACKINGINFO|a: CLIENT CACHING YES"
    "|a: CLIENT TRACKING OFF|a: CLIENT TRACKINGINFO",
    "bad options": "a: CLIENT TRACKING|a: CLIENT TRACKING x|a: CLIENT TRACKING ON x"
    "|a: CLIENT TRACKING ON REDIRECT|a: CLIENT TRACKING ON REDIRECT x"
    "|a: CLIENT TRACKING ON REDIRECT 999999|a: CLIENT TRACKING ON PREFIX"
    "|a: CLIENT TRACKING ON PREFIX p|a: CLIENT TRACKING ON OPTIN OPTOUT"
    "|a: CLIENT TRACKING ON BCAST OPTIN|a: CLIENT TRACKING ON BCAST OPTOUT OPTIN"
    "|a: CLIENT TRACKING ON BCAST PREFIX ab PREFIX a|a: CLIENT TRACKING ON BCAST PREFIX a PREFIX a"
    "|a: CLIENT TRACKINGINFO|a: CLIENT CACHING|a: CLIENT CACHING x|a: CLIENT TRACKING OFF x"
    "|a: CLIENT TRACKING x OPTIN",
    "a mode can't be changed": "a: CLIENT TRACKING ON|a: CLIENT TRACKING ON BCAST"
    "|a: CLIENT TRACKING ON OPTIN|a: CLIENT TRACKING ON OPTOUT|a: CLIENT TRACKING ON"
    "|a: CLIENT TRACKING OFF|a: CLIENT TRACKING ON OPTOUT|a: CLIENT TRACKING ON OPTIN"
    "|a: CLIENT TRACKING ON|a: CLIENT TRACKING OFF|a: CLIENT TRACKING ON BCAST"
    "|a: CLIENT TRACKING ON|a: CLIENT TRACKING ON OPTIN|a: CLIENT TRACKING ON BCAST OPTIN",
    "prefixes are added": "a: CLIENT TRACKING ON BCAST PREFIX ab PREFIX c"
    "|a: CLIENT TRACKING ON BCAST PREFIX abc|a: CLIENT TRACKING ON BCAST PREFIX ab"
    "|a: CLIENT TRACKING ON BCAST|a: CLIENT TRACKING ON BCAST PREFIX b|a: CLIENT TRACKINGINFO"
    "|a: CLIENT TRACKING OFF|a: CLIENT TRACKINGINFO|a: CLIENT TRACKING ON BCAST"
    "|a: CLIENT TRACKINGINFO",
    "caching": "a: CLIENT TRACKING ON|a: CLIENT CACHING YES|a: CLIENT CACHING NO"
    "|a: CLIENT CACHING x|a: CLIENT TRACKING OFF|a: CLIENT TRACKING ON OPTIN|a: CLIENT CACHING NO"
    "|a: CLIENT CACHING YES|a: CLIENT TRACKINGINFO|a: CLIENT TRACKINGINFO|a: PING"
    "|a: CLIENT TRACKINGINFO|a: CLIENT TRACKING OFF|a: CLIENT TRACKING ON OPTOUT NOLOOP"
    "|a: CLIENT CACHING YES|a: CLIENT CACHING NO|a: CLIENT TRACKINGINFO|a: MULTI"
    "|a: CLIENT TRACKINGINFO|a: GET k|a: EXEC|a: CLIENT TRACKINGINFO",
    "redirected to itself": "a: CLIENT TRACKING ON REDIRECT 3|a: CLIENT GETREDIR"
    "|a: CLIENT TRACKING ON|a: CLIENT GETREDIR|a: RESET|a: CLIENT GETREDIR",
    "redirected twice": "a: PING|b: PING|a: CLIENT TRACKING ON REDIRECT 4 REDIRECT 3",
    "redirected to a subscriber": "b: SUBSCRIBE __redis__:invalidate|a: SET k 1"
    "|a: CLIENT TRACKING ON REDIRECT 3|a: CLIENT GETREDIR|a: GET k|a: GET k|c: SET k 2|b!"
    "|c: SET k 3|a: GET k|c: DEL k|b!|a: MGET k l|c: MSET k 1 l 2|b!|b!|c: FLUSHALL"
    "|b!|c: FLUSHDB|b!|a: PING",
    "a subscriber to anything": "b: PSUBSCRIBE x|a: CLIENT TRACKING ON REDIRECT 3|a: GET k"
    "|c: SET k 2|b!",
    "the redirected one itself changes a key": "b: SUBSCRIBE x|a: CLIENT TRACKING ON REDIRECT 3"
    "|a: GET k|a: SET k 1|b!|a: CLIENT TRACKING ON REDIRECT 3 NOLOOP|a: GET k|a: SET k 2|a: GET k"
    "|c: SET k 3|b!",
    "prefixes for a subscriber": "b: SUBSCRIBE x|a: CLIENT TRACKING ON BCAST PREFIX k REDIRECT 3"
    "|c: SET l 1|c: SET k 1|b!|c: MSET k2 1 k1 2 k3 2 l 1|b!|a: SET k 2|b!|a: RESET|c: SET k 4"
    "|c: PUBLISH x done|b!",
    "nobody to tell": "a: CLIENT TRACKING ON REDIRECT 3|a: GET k|c: SET k 1|a: PING",
    "pause refuses": "a: CLIENT PAUSE|a: CLIENT PAUSE x|a: CLIENT PAUSE -1|a: CLIENT PAUSE 1 x"
    "|a: CLIENT PAUSE 1 WRITE x|a: CLIENT UNPAUSE x|a: CLIENT UNPAUSE",
    "writes pause": "a: SET k 1|a: CLIENT PAUSE 100000 write|a: GET k|b~ SET k 2|c~ PUBLISH x y"
    "|a: GET k|d: MULTI|d: GET k|d: EXEC|e~ PFCOUNT h|f: EVAL_RO return{1} 0|g~ EVAL return{1} 0"
    "|a: CLIENT UNPAUSE|b<|c<|e<|g<|a: GET k",
    "a transaction that writes pauses": "a: MULTI|a: SET k 1|b: CLIENT PAUSE 100000 WRITE|a~ EXEC"
    "|c: EXISTS k|b: CLIENT UNPAUSE|a<",
    "a pause begins behind its transaction": "a: MULTI|a: SET k 1|a: CLIENT PAUSE 100000 WRITE"
    "|a: SET k 2|a: EXEC|b~ SET k 3|a: GET k|a: CLIENT UNPAUSE|b<|a: GET k",
    "all pause for a while": "a: CLIENT PAUSE 50|a: PING|b: SET k 1",
    "a push that was paused comes through": "a: CLIENT PAUSE 100000 WRITE|b~ RPUSH l x"
    "|a: CLIENT UNPAUSE|b<|b: LLEN l",
    "a waiting client is served after a pause": "b~ BLPOP l 0|a: CLIENT PAUSE 100000 WRITE"
    "|c~ RPUSH l x|a: LLEN l|a: CLIENT UNPAUSE|b<|c<",
    "expired keys are hidden in a pause": "a: CLIENT PAUSE 100000 WRITE|a: EXISTS k|a: RANDOMKEY"
    "|a: CLIENT UNPAUSE",
}
RESP3_ALONE = {
    "a key that was read": "a: CLIENT TRACKING ON|a: GET k|b: SET k 1|a!|b: SET k 2|a: PING",
    "keys of many commands": "a: CLIENT TRACKING ON|a: MGET k l|a: EXISTS m|a: TTL n|a: TYPE o"
    "|a: HGETALL h|a: LRANGE i 0 1|a: ZRANGE z 0 1|a: SMEMBERS s|a: XLEN x|a: SUNION s t"
    "|b: SET k 1|a!|b: SET l 1|a!|b: SET m 1|a!|b: SET n 1|a!|b: SET o 1|a!|b: HSET h f 1|a!"
    "|b: RPUSH i 1|a!|b: ZADD z 1 m|a!|b: SADD s 1|a!|b: XADD x 1-1 f 1|a!|b: SADD t 1|a!|a: PING",
    "what is written is not read": "a: CLIENT TRACKING ON|a: SET k 1|a: INCR n|a: GETSET k 2"
    "|b: SET k 2|b: SET n 2|a: PING",
    "a read that fails": "a: SET k 1|a: CLIENT TRACKING ON|a: LRANGE k 0 1|b: SET k 2|a!|a: PING",
    "many changes": "a: CLIENT TRACKING ON|a: GET k|b: SET k 1|a!|a: GET k|b: EXPIRE k 100|a!"
    "|a: GET k|b: PERSIST k|a!|a: GET k|b: RENAME k l|a!|a: GET l|b: APPEND l x|a!|a: GET l"
    "|b: DEL l|a!|a: GET l|b: DEL l|a: PING|b: SELECT 1|b: SET l 1|a!|a: PING",
    "its own changes": "a: CLIENT TRACKING ON|a: GET k|a: SET k 1|a!|a: GET k|a: DEL k|a!|a: PING",
    "its own changes not": "a: CLIENT TRACKING ON NOLOOP|a: GET k|a: SET k 1|a: PING|a: GET k"
    "|b: SET k 1|a!|a: CLIENT TRACKINGINFO",
    "its own changes in a transaction": "a: CLIENT TRACKING ON|a: MGET k l|a: MULTI|a: SET k 1"
    "|a: SET l 1|a: GET k|a: EXEC|a!|a!|b: SET k 2|a!|a: PING",
    "its own changes in a script": "a: CLIENT TRACKING ON|a: MGET k l"
    "|a: EVAL redis.call('set',KEYS[1],1) 1 k|a!|b: EVAL redis.call('set',KEYS[1],1) 1 l|a!",
    "what a script reads": "a: CLIENT TRACKING ON|a: EVAL return{redis.call('get',KEYS[1])} 1 k"
    "|b: SET k 1|a!|a: EVAL_RO return{redis.call('get',KEYS[1])} 1 k|b: SET k 2|a!"
    "|a: EVAL_RO return{1} 1 k|b: SET k 3|a: PING",
    "optin": "a: CLIENT TRACKING ON OPTIN|a: GET k|a: CLIENT CACHING YES|a: GET l|a: GET m"
    "|b: SET k 1|b: SET m 1|b: SET l 1|a!|a: PING|a: CLIENT CACHING YES|a: CLIENT ID|a: GET k"
    "|b: SET k 2|a!|a: CLIENT CACHING YES|a: PING|a: GET k|b: SET k 1|a: PING",
    "optin in a transaction": "a: CLIENT TRACKING ON OPTIN|a: CLIENT CACHING YES|a: MULTI|a: GET k"
    "|a: GET l|a: EXEC|a: GET m|b: SET k 1|a!|b: SET l 1|a!|b: SET m 1|a: PING|a: MULTI"
    "|a: CLIENT CACHING YES|a: GET k|a: EXEC|b: SET k 1|a!|a: PING",
    "optin in a script": "a: CLIENT TRACKING ON OPTIN|a: CLIENT CACHING YES"
    "|a: EVAL return{redis.call('get',KEYS[1])} 1 k|b: SET k 1|a!"
    "|a: EVAL return{redis.call('get',KEYS[1])} 1 k|b: SET k 1|a: PING",
    "optout": "a: CLIENT TRACKING ON OPTOUT|a: GET k|a: CLIENT CACHING NO|a: GET l|a: GET m"
    "|b: SET k 1|a!|b: SET l 1|b: SET m 1|a!|a: PING",
    "flush": "a: CLIENT TRACKING ON|b: CLIENT TRACKING ON BCAST PREFIX x|a: GET k|c: FLUSHALL|a!|b!"
    "|c: SET k 1|a: PING|a: GET k|a: FLUSHDB|a!|b!|a: PING|a: MULTI|a: FLUSHALL|a: PING|a: EXEC|a!",
    "all keys": "a: CLIENT TRACKING ON BCAST|b: SET k 1|a!|b: SET k 1|a!|a: SET l 2|a!|a: GET l"
    "|b: MSET c 1 a 2 b 3|a!|b: DEL a b c d|a!|a: PING",
    "prefixes": "a: CLIENT TRACKING ON BCAST PREFIX a PREFIX b|b: SET c 1|b: SET a1 1|a!"
    "|b: MSET a2 1 a1 2|a!|b: MULTI|b: SET b1 1|b: INCR b1|b: SET b2 1|b: EXEC|a!|a: PING",
    "prefixes without its own": "a: CLIENT TRACKING ON BCAST NOLOOP PREFIX a|a: SET a1 1"
    "|b: SET a2 1|a!|a: SET a1 2|a: PING",
    "the redirection is gone": "a: PING|b: PING|a: CLIENT TRACKING ON REDIRECT 4|a: GET k|a: GET l"
    "|b-|c: SET k 1|a: CLIENT TRACKINGINFO",
    "pushed to another": "a: PING|b: PING|a: CLIENT TRACKING ON REDIRECT 4|a: GET k|c: SET k 1|b!"
    "|a: PING|c: FLUSHALL|b!",
    "off": "a: CLIENT TRACKING ON|a: GET k|a: CLIENT TRACKING OFF|b: SET k 1|a: PING"
    "|a: CLIENT TRACKING ON BCAST|a: CLIENT TRACKING OFF|b: SET k 1|a: PING",
    "one who waits is served": "a: CLIENT TRACKING ON|a: LRANGE l 0 -1|b~ BLPOP l 0|c: RPUSH l x|b<"
    "|a!|a: PING",
    "no replies, but messages": "a: CLIENT TRACKING ON|a: GET k|a: CLIENT REPLY ON|b: SET k 1|a!",
    "sorted and stored": "a: CLIENT TRACKING ON|a: GET k|a: SORT_RO l|b: RPUSH l 2 1|a!"
    "|b: SORT l STORE k|a!",
}


@pytest.mark.parametrize("resp", [2, 3])
def test_the_same_scenes_get_the_same_frames(
    resp: int, redis_server: ServerProcess, hotplate_server: ServerProcess
) -> None:
    scenes = ANY_PROTOCOL if resp == 2 else ANY_PROTOCOL | RESP3_ALONE
    assert different_scenes(scenes, resp, redis_server, hotplate_server) == {}
