"""What several KVC commands parse alike: the instance, key lists, masks, names and sizes.

Pure parsing: nothing here changes the cache. The key list is always last, so that a parser that
reaches KEYS, PACKED or TOKENS takes the rest of argv. Packed keys are never looked at one by one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from hotplate.errors import BadMaskError, CommandError
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import Instance
from hotplate.limits import BLOCK_KEY_BYTES_MAX, KEYS_PER_CALL_MAX
from hotplate.resp.types import Reply, Simple
from hotplate.spec.args import Args, parse_int_within, read_int, syntax_error
from hotplate.spec.model import Arg, block, integer, oneof, string, token
from hotplate.spec.model import Keys as KeySpec
from hotplate.spec.reply import ArrayReply, SimpleReply
from hotplate.wire.hashing import SCHEMES, TOKEN_BYTES, hash_tokens

if TYPE_CHECKING:
    from hotplate.engine.context import Context
    from hotplate.kvc.cache import Cache

SINCE: Final = "0.1.0"
KEY_WORDS: Final = frozenset((b"KEYS", b"PACKED", b"TOKENS"))
SIZE_MAX: Final = 1 << 62
TTL_S_MAX: Final = 1 << 40  # in milliseconds and added to the time still far below 2**63
PRIORITY_MAX: Final = 100

HELP_REPLY: Final = ArrayReply(SimpleReply(None))
READS_INSTANCE: Final = (KeySpec(begin=1, flags=("RO", "ACCESS", "NOT_KEY")),)
WRITES_INSTANCE: Final = (KeySpec(begin=1, flags=("RW", "UPDATE", "NOT_KEY")),)

INSTANCE_ARG: Final = Arg(name="instance", type="key", key_spec_index=0)
KEYS_ARG: Final = oneof(
    "keys",
    block(
        "listed",
        integer("numkeys", token="KEYS"),
        string("block-key", multiple=True, optional=True),
    ),
    block("packed", integer("width", token="PACKED"), string("blob")),
    string("tokens", token="TOKENS"),
)
MASK_ARG: Final = oneof(
    "mask", integer("skip", token="SKIP"), string("bits", token="MASK"), optional=True
)
FORMAT_ARG: Final = oneof("format", token("RESP"), token("MSGPACK"), token="FORMAT", optional=True)


def cache_of(ctx: "Context") -> "Cache":
    """The KV cache of this server."""
    cache = ctx.engine.kvc
    if cache is None:
        raise CommandError("this server runs without a KV cache")
    return cache


def parse_text(value: bytes, what: str) -> str:
    """UTF-8 text, or CommandError."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise CommandError(f"{what} {value!r} is not UTF-8") from None


def parse_keys(instance: Instance, argv: Sequence[Any], at: int, parent: bytes | None) -> Keys:
    """The key list that stands at argv[at:], all of it. `parent` is where TOKENS chain on."""
    if at >= len(argv):
        raise syntax_error()
    word = argv[at].upper()
    if word == b"PACKED" and len(argv) == at + 3:
        return _packed_keys(argv[at + 1], argv[at + 2])
    if word == b"KEYS" and len(argv) > at + 1:
        return _listed_keys(argv, at)
    if word == b"TOKENS" and len(argv) == at + 2:
        return _token_keys(instance, argv[at + 1], parent)
    raise syntax_error()


def _packed_keys(width_text: bytes, blob: Any) -> Keys:
    width = parse_int_within(width_text, "PACKED width", 1, BLOCK_KEY_BYTES_MAX)
    size = len(blob)
    if size % width:
        raise CommandError(f"PACKED blob of {size} bytes is not whole keys of {width} bytes")
    if size > width * KEYS_PER_CALL_MAX:
        raise _too_many(size // width)
    return Keys.packed(width, bytes(blob))


def _listed_keys(argv: Sequence[Any], at: int) -> Keys:
    count = read_int(argv[at + 1])
    if count is None or count < 0:
        raise CommandError(b"KEYS must be an integer of at least 0, not '%b'" % argv[at + 1][:128])
    if count > KEYS_PER_CALL_MAX:
        raise _too_many(count)
    if len(argv) != at + 2 + count:
        raise CommandError(f"KEYS {count}, but {len(argv) - at - 2} keys follow")
    keys = list(argv[at + 2 :])
    for key in keys:
        check_block_key(key)
    return Keys.listed(keys)


def _token_keys(instance: Instance, blob: Any, parent: bytes | None) -> Keys:
    registration = instance.registration
    count = len(blob) // (TOKEN_BYTES * instance.block_tokens)
    if count > KEYS_PER_CALL_MAX:
        raise _too_many(count)
    scheme = registration.hash_scheme
    try:
        packed = hash_tokens(
            scheme,
            bytes(blob),
            instance.block_tokens,
            seed=registration.hash_seed,
            parent=parent,
        )
    except ValueError as error:
        raise CommandError(f"TOKENS: {error}") from None
    return Keys.packed(SCHEMES[scheme].key_bytes, packed)


def _too_many(count: int) -> CommandError:
    return CommandError(f"{count} keys in one call, at most {KEYS_PER_CALL_MAX}")


def check_block_key(key: bytes, what: str = "key") -> bytes:
    """`key` itself if its length is allowed."""
    if not 1 <= len(key) <= BLOCK_KEY_BYTES_MAX:
        raise CommandError(f"{what} of {len(key)} bytes, must be 1..{BLOCK_KEY_BYTES_MAX}")
    return key


class Mask:
    """SKIP n or MASK bits, checked against the keys when these are known."""

    __slots__ = ("bits", "skip")

    def __init__(self) -> None:
        self.skip = 0
        self.bits: bytes | None = None

    def unmasked(self, keys: Keys) -> tuple[int, Keys]:
        """How many leading keys are masked, and the keys that are not."""
        if self.bits is not None:
            bits = checked_bits(self.bits, len(keys), "keys")
            leading = len(bits) - len(bits.lstrip(b"1"))
            if b"1" not in bits[leading:]:
                return leading, keys.tail(leading)
            picked = [index for index, bit in enumerate(bits) if bit == _ZERO_BIT]
            return leading, keys.pick(picked)
        if self.skip > len(keys):
            raise BadMaskError(f"SKIP {self.skip} is more than the {len(keys)} keys")
        return self.skip, keys.tail(self.skip) if self.skip else keys

    def check(self, keys: Keys) -> None:
        """Refuse a mask that does not fit, where it is not applied."""
        if self.bits is not None:
            checked_bits(self.bits, len(keys), "keys")
        elif self.skip > len(keys):
            raise BadMaskError(f"SKIP {self.skip} is more than the {len(keys)} keys")


_ZERO_BIT: Final = ord("0")


def checked_bits(bits: bytes, length: int, what: str) -> bytes:
    """`bits` itself, or BadMaskError: other characters than 0 and 1, or another length."""
    if len(bits) != length:
        raise BadMaskError(f"mask of {len(bits)} for {length} {what}")
    if bits.strip(b"01"):
        raise BadMaskError("a mask is made of 0 and 1")
    if len(bits) != bits.count(b"0") + bits.count(b"1"):
        raise BadMaskError("a mask is made of 0 and 1")
    return bits


def parse_mask(argv: Sequence[Any], at: int, mask: Mask) -> int:
    """SKIP or MASK at argv[at] if it is one; the position behind it."""
    word = argv[at].upper()
    if word not in (b"SKIP", b"MASK"):
        return at
    value = argument(argv, at + 1)
    if word == b"SKIP":
        mask.skip = parse_int_within(value, "SKIP", 0)
    else:
        mask.bits = bytes(value)
    return at + 2


def argument(argv: Sequence[Any], at: int) -> bytes:
    """argv[at], or a syntax error at the end."""
    if at >= len(argv):
        raise syntax_error()
    value: bytes = argv[at]
    return value


def parse_names(argv: Sequence[Any], at: int, what: str) -> tuple[list[str], int]:
    """`n name ...` at argv[at], at least one name, and the position behind it."""
    args = Args(argv, at)
    names = take_names(args, what)
    return names, args.position


def parse_format(value: bytes) -> bool:
    """Whether FORMAT asks for msgpack."""
    word = value.upper()
    if word not in (b"RESP", b"MSGPACK"):
        raise CommandError(b"unknown FORMAT '%b', resp or msgpack" % value[:128])
    return word == b"MSGPACK"


def parse_ttl_ms(value: bytes) -> int:
    """TTL in seconds, as milliseconds."""
    return parse_int_within(value, "TTL", 1, TTL_S_MAX) * 1000


def parse_priority(value: bytes) -> int:
    """PRIORITY; higher stays longer."""
    return parse_int_within(value, "PRIORITY", 0, PRIORITY_MAX)


def take_names(args: Args, what: str) -> list[str]:
    """`n name ...`, at least one name."""
    count = args.take_int_within(what, 1, KEYS_PER_CALL_MAX)
    if count > len(args):
        raise CommandError(f"{what} {count}, but {len(args)} arguments follow")
    return [parse_text(name, what) for name in args.take_many(count)]


def spec_mask(instance: Instance, names: Sequence[str]) -> int:
    """The bit mask of named specs, or CommandError naming the one that is not registered."""
    mask = 0
    numbers = instance.spec_numbers
    for name in names:
        number = numbers.get(name)
        if number is None:
            raise CommandError(f"unknown spec {name!r}")
        mask |= 1 << number
    return mask


def spec_number(instance: Instance, name: bytes) -> int:
    """The number of one named spec."""
    text = parse_text(bytes(name), "SPEC")
    number = instance.spec_numbers.get(text)
    if number is None:
        raise CommandError(f"unknown spec {text!r}")
    return number


def help_reply(container: str, lines: Sequence[str]) -> list[Reply]:
    """HELP of a container, as Redis words it."""
    title = f"{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    ending = ("HELP", "    Print this help.")
    return [Simple(line.encode()) for line in (title, *lines, *ending)]


def take_size(args: Args, what: str, minimum: int = 0) -> int:
    """A number of bytes (or of things) that fits the cache's arithmetic."""
    return args.take_int_within(what, minimum, SIZE_MAX)


def take_size_or_none(args: Args, what: str, minimum: int = 0) -> int | None:
    """The same, or the word `none`: no limit."""
    if args.accept(b"NONE"):
        return None
    return take_size(args, what, minimum)


def take_text(args: Args, what: str) -> str:
    """The next argument as text."""
    return parse_text(args.take(), what)
