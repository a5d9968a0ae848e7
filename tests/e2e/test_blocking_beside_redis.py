"""Clients that wait, on a real Redis and on Hotplate: the same scenes get the same frames."""

import pytest
from tests.testing.scenes import different_scenes

from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e

SCENES = {
    "an element goes to the one who waits": "a~ BLPOP l 0|b: RPUSH l x|a<|b: EXISTS l",
    "the rest of a push stays": "a~ BRPOP l 0|b: RPUSH l x y z|a<|b: LRANGE l 0 -1",
    "the oldest is served first": "a~ BLPOP l 0|b~ BLPOP l 0|c: RPUSH l 1 2|a<|b<",
    "several keys": "a~ BLPOP l1 l2 l3 0|b: RPUSH l2 x|a<|b: RPUSH l1 y|a: BLPOP l1 l2 0",
    "nothing waits that is there": "a: RPUSH l x|a: BLPOP none l 0|a: BLPOP none l 0.01",
    "timeouts": "a: BLPOP l 0.01|a: BRPOP l 0.01|a: BLMOVE l m LEFT RIGHT 0.01"
    "|a: BRPOPLPUSH l m 0.01|a: BLMPOP 0.01 1 l LEFT",
    "bad timeouts": "a: BLPOP l -1|a: BLPOP l x|a: BLMOVE l m x y z"
    "|a: BLMPOP -1 1 l LEFT|a: BLMPOP 1 0 l LEFT|a: BLMPOP 1 1 l UP|a: BLMPOP 1 1 l LEFT COUNT 0",
    "moving": "a~ BLMOVE l m RIGHT LEFT 0|b: RPUSH l x y|a<|b: LRANGE m 0 -1|b: LRANGE l 0 -1",
    "moving serves the next": "a~ BLMOVE l m LEFT LEFT 0|b~ BLPOP m 0|c: RPUSH l x|a<|b<"
    "|c: EXISTS l m",
    "moving to another type": "a~ BRPOPLPUSH l m 0|b: SET m x|b: RPUSH l y|a<|b: LRANGE l 0 -1",
    "popping many": "a~ BLMPOP 0 2 l m RIGHT COUNT 2|b: RPUSH m 1 2 3|a<|b: LRANGE m 0 -1",
    "another type does not end a wait": "a~ BLPOP l 0|b: SET l x|b: DEL l|b: RPUSH l y|a<",
    "another type at once": "a: SET l x|a: BLPOP l 0|a: BLMOVE l m LEFT LEFT 0|a: BLPOP n l 0",
    "a member goes to the one who waits": "a~ BZPOPMIN z 0|b: ZADD z 2 x 1 y|a<|b: ZRANGE z 0 -1",
    "members of several keys": "a~ BZPOPMAX z1 z2 0|b: ZADD z2 1 x 2 y|a<|a: BZPOPMAX z1 z2 0",
    "popping many members": "a~ BZMPOP 0 2 z1 z2 MAX COUNT 2|b: ZADD z2 1 x 2 y 3 z|a<",
    "no member": "a: BZPOPMIN z 0.01|a: BZPOPMAX z 0.01|a: BZMPOP 0.01 1 z MIN|a: MULTI"
    "|a: BZPOPMIN z 0|a: BZMPOP 0 1 z MIN|a: EXEC",
    "bad waits for members": "a: BZPOPMIN z x|a: BZMPOP x 1 z MIN|a: BZMPOP 0 0 z MIN"
    "|a: BZMPOP 0 1 z UP|a: BZMPOP 0 2 z MIN|a: SET s x|a: BZPOPMIN s 0|a: BZPOPMAX n s 0",
    "a stored result": "a~ BZPOPMIN z 0|b: ZADD x 1 m|b: ZUNIONSTORE z 1 x|a<",
    "a sorted result": "a~ BLPOP l 0|b: RPUSH m 2 1|b: SORT m STORE l|a<",
    "a renamed list": "a~ BLPOP l 0|b: RPUSH m x|b: RENAME m l|a<",
    "a copied list": "a~ BLPOP l 0|b: RPUSH m x|b: COPY m l|a<|b: EXISTS l m",
    "a swapped database": "a~ BLPOP l 0|b: SELECT 1|b: RPUSH l x|b: SWAPDB 0 1|a<",
    "a moved list": "a~ BLPOP l 0|b: SELECT 1|b: RPUSH l x|b: MOVE l 0|a<",
    "in a transaction": "a: MULTI|a: BLPOP l 0|a: BLMOVE l m LEFT LEFT 0|a: BLMPOP 0 1 l LEFT"
    "|a: BRPOPLPUSH l m 0|a: EXEC",
    "pushed and popped in a transaction": "a~ BLPOP l 0|b: MULTI|b: RPUSH l x|b: LPOP l|b: EXEC"
    "|b: RPUSH l y|a<",
    "let go": "a~ BLPOP l 0|b: CLIENT UNBLOCK 3|a<|a: PING",
    "let go with an error": "a~ BLPOP l 0|b: CLIENT UNBLOCK 3 ERROR|a<|a: PING",
    "waiting for replicas": "a: WAIT 0 0|a: WAIT -1 0|a: WAIT 1 10|a: MULTI|a: WAIT 1 0|a: EXEC"
    "|a~ WAIT 1 0|b: CLIENT UNBLOCK 3|a<|a~ WAIT 2 100000|b: CLIENT UNBLOCK 3 ERROR|a<|a: PING",
    "a killed client takes nothing": "a~ BLPOP l 0|b~ BLPOP l 0|c: CLIENT KILL ID 3|c: RPUSH l x"
    "|b<",
}


@pytest.mark.parametrize("resp", [2, 3])
def test_the_same_scenes_get_the_same_frames(
    resp: int, redis_server: ServerProcess, hotplate_server: ServerProcess
) -> None:
    assert different_scenes(SCENES, resp, redis_server, hotplate_server) == {}
