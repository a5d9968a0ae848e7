"""The commands of Redis up to 8 and of Valkey up to 9 by group, for docs/compatibility.md.

From COMMAND LIST of redis-server 7.0, and the newer ones from the documentation of either server.
A subcommand is `container|name`.
"""

from typing import Final

# fmt: off
COMMANDS_BY_GROUP: Final[dict[str, tuple[str, ...]]] = {
    "bitmap": (
        "bitcount", "bitfield", "bitfield_ro", "bitop", "bitpos", "getbit", "setbit",
    ),
    "cluster": (
        "asking", "clusterscan", "cluster|addslots", "cluster|addslotsrange", "cluster|bumpepoch",
        "cluster|cancelslotmigrations", "cluster|count-failure-reports", "cluster|countkeysinslot",
        "cluster|delslots", "cluster|delslotsrange", "cluster|failover", "cluster|flushslot",
        "cluster|flushslots", "cluster|forget", "cluster|getkeysinslot",
        "cluster|getslotmigrations",
        "cluster|help", "cluster|info", "cluster|keyslot", "cluster|links", "cluster|meet",
        "cluster|migrateslots", "cluster|migration", "cluster|myid", "cluster|myshardid",
        "cluster|nodes",
        "cluster|replicas", "cluster|replicate", "cluster|reset", "cluster|saveconfig",
        "cluster|set-config-epoch", "cluster|setslot", "cluster|shards", "cluster|slaves",
        "cluster|slot-stats", "cluster|slots", "cluster|syncslots", "readonly", "readwrite",
    ),
    "connection": (
        "auth", "client|caching", "client|capa", "client|getname", "client|getredir",
        "client|help", "client|id",
        "client|import-source", "client|info", "client|kill", "client|list", "client|no-evict",
        "client|no-touch", "client|pause", "client|reply", "client|setinfo", "client|setname",
        "client|tracking", "client|trackinginfo", "client|unblock", "client|unpause", "echo",
        "hello", "ping", "quit",
        "reset", "select",
    ),
    "generic": (
        "copy", "del", "dump", "exists", "expire", "expireat", "expiretime", "keys", "migrate",
        "move", "object|encoding",
        "object|freq", "object|help", "object|idletime", "object|refcount", "persist", "pexpire",
        "pexpireat",
        "pexpiretime", "pttl", "randomkey", "rename", "renamenx", "restore", "scan", "sort",
        "sort_ro", "touch", "ttl", "type",
        "unlink", "wait", "waitaof",
    ),
    "geo": (
        "geoadd", "geodist", "geohash", "geopos", "georadius", "georadius_ro", "georadiusbymember",
        "georadiusbymember_ro", "geosearch", "geosearchstore",
    ),
    "hash": (
        "hdel", "hexists", "hexpire", "hexpireat", "hexpiretime", "hget", "hgetall", "hgetdel",
        "hgetex", "hincrby",
        "hincrbyfloat", "hkeys", "hlen", "hmget", "hmset", "hpersist", "hpexpire", "hpexpireat",
        "hpexpiretime", "hpttl",
        "hrandfield", "hscan", "hset", "hsetex", "hsetnx", "hstrlen", "httl", "hvals",
    ),
    "hyperloglog": (
        "pfadd", "pfcount", "pfdebug", "pfmerge", "pfselftest",
    ),
    "list": (
        "blmove", "blmpop", "blpop", "brpop", "brpoplpush", "lindex", "linsert", "llen", "lmove",
        "lmpop", "lpop", "lpos", "lpush",
        "lpushx", "lrange", "lrem", "lset", "ltrim", "rpop", "rpoplpush", "rpush", "rpushx",
    ),
    "pubsub": (
        "psubscribe", "publish", "pubsub|channels", "pubsub|help", "pubsub|numpat", "pubsub|numsub",
        "pubsub|shardchannels", "pubsub|shardnumsub", "punsubscribe", "spublish", "ssubscribe",
        "subscribe",
        "sunsubscribe", "unsubscribe",
    ),
    "scripting": (
        "eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro", "function|delete",
        "function|dump",
        "function|flush", "function|help", "function|kill", "function|list", "function|load",
        "function|restore", "function|stats", "script|debug", "script|exists", "script|flush",
        "script|help",
        "script|kill", "script|load", "script|show",
    ),
    "server": (
        "acl|cat", "acl|deluser", "acl|dryrun", "acl|genpass", "acl|getuser", "acl|help",
        "acl|list", "acl|load",
        "acl|log", "acl|save", "acl|setuser", "acl|users", "acl|whoami", "bgrewriteaof", "bgsave",
        "commandlog|get",
        "commandlog|help", "commandlog|len", "commandlog|reset", "command|count", "command|docs",
        "command|getkeys", "command|getkeysandflags", "command|help", "command|info",
        "command|list",
        "config|get", "config|help", "config|resetstat", "config|rewrite", "config|set", "dbsize",
        "debug",
        "failover", "flushall", "flushdb", "hotkeys|get", "hotkeys|help", "hotkeys|reset",
        "hotkeys|start",
        "hotkeys|stop", "info", "lastsave", "latency|doctor", "latency|graph", "latency|help",
        "latency|histogram",
        "latency|history", "latency|latest", "latency|reset", "lolwut", "memory|doctor",
        "memory|help",
        "memory|malloc-stats", "memory|purge", "memory|stats", "memory|usage", "module|help",
        "module|list",
        "module|load", "module|loadex", "module|unload", "monitor", "psync", "replconf",
        "replicaof",
        "restore-asking", "role", "save", "shutdown", "slaveof", "slowlog|get", "slowlog|help",
        "slowlog|len",
        "slowlog|reset", "swapdb", "sync", "time",
    ),
    "set": (
        "sadd", "scard", "sdiff", "sdiffstore", "sinter", "sintercard", "sinterstore",
        "sismember", "smembers",
        "smismember", "smove", "spop", "srandmember", "srem", "sscan", "sunion", "sunionstore",
    ),
    "sorted-set": (
        "bzmpop", "bzpopmax", "bzpopmin", "zadd", "zcard", "zcount", "zdiff", "zdiffstore",
        "zincrby", "zinter", "zintercard",
        "zinterstore", "zlexcount", "zmpop", "zmscore", "zpopmax", "zpopmin", "zrandmember",
        "zrange", "zrangebylex",
        "zrangebyscore", "zrangestore", "zrank", "zrem", "zremrangebylex", "zremrangebyrank",
        "zremrangebyscore",
        "zrevrange", "zrevrangebylex", "zrevrangebyscore", "zrevrank", "zscan", "zscore",
        "zunion", "zunionstore",
    ),
    "stream": (
        "xack", "xackdel", "xadd", "xautoclaim", "xcfgset", "xclaim", "xdel", "xdelex",
        "xgroup|create",
        "xgroup|createconsumer", "xgroup|delconsumer", "xgroup|destroy", "xgroup|help",
        "xgroup|setid",
        "xinfo|consumers", "xinfo|groups", "xinfo|help", "xinfo|stream", "xlen", "xnack",
        "xpending", "xrange", "xread",
        "xreadgroup", "xrevrange", "xsetid", "xtrim",
    ),
    "string": (
        "append", "decr", "decrby", "delex", "delifeq", "digest", "get", "getdel", "getex",
        "getrange", "getset", "incr", "incrby",
        "incrbyfloat", "increx", "lcs", "mget", "mset", "msetex", "msetnx", "psetex", "set",
        "setex", "setnx", "setrange", "strlen",
        "substr",
    ),
    "transactions": (
        "discard", "exec", "multi", "unwatch", "watch",
    ),
    "vector_set": (
        "vadd", "vcard", "vdim", "vemb", "vgetattr", "vinfo", "vismember", "vlinks",
        "vrandmember", "vrange", "vrem", "vsetattr",
        "vsim",
    ),
}
# fmt: on
