"""An example worker: registers a model, stores the blocks of a prompt, finds them again.

    python docker/worker.py redis://127.0.0.1:6379

It uses redis-py and nothing of Hotplate, as a worker in any language would. An engine puts the KV
tensors of a block of tokens where this puts made-up bytes.
"""

import struct
import sys

import redis

INSTANCE = "example-model"
BLOCK_TOKENS = 16
BLOCK_BYTES = 4096


def pack_tokens(tokens: list[int]) -> bytes:
    """Token ids as KVC commands take them: little-endian, 32 bits."""
    return struct.pack(f"<{len(tokens)}I", *tokens)


def payload_of(block: list[int]) -> bytes:
    """Stands for the KV tensors of a block."""
    return (pack_tokens(block) * BLOCK_BYTES)[:BLOCK_BYTES]


def main(url: str) -> int:
    """Store one prompt, then look up a second one that begins like it."""
    client = redis.Redis.from_url(url)
    client.execute_command(
        *("KVC.INSTANCE", "REGISTER", INSTANCE, "GROUP", "default"),
        *("BLOCKTOKENS", BLOCK_TOKENS, "SPEC", "kv", BLOCK_BYTES, "HASH", "xxh3"),
    )
    prompt = list(range(1000, 1000 + 8 * BLOCK_TOKENS))
    blocks = [prompt[start : start + BLOCK_TOKENS] for start in range(0, len(prompt), BLOCK_TOKENS)]

    session, mask, _ = client.execute_command(
        "KVC.STARTWRITE", INSTANCE, "TOKENS", pack_tokens(prompt)
    )
    if session is None:
        print("every block of the prompt is stored already")
    else:
        new = [block for block, bit in zip(blocks, mask.decode(), strict=True) if bit == "0"]
        for index, block in enumerate(new):
            client.execute_command("KVC.WRITE", INSTANCE, session, index, payload_of(block))
        published, _ = client.execute_command("KVC.FINISH", INSTANCE, session)
        print(f"stored {published} blocks")

    related = prompt[: 5 * BLOCK_TOKENS] + [7] * (3 * BLOCK_TOKENS)
    found = client.execute_command("KVC.MREAD", INSTANCE, "PREFIX", "TOKENS", pack_tokens(related))
    right = all(payload == payload_of(block) for payload, block in zip(found, blocks, strict=False))
    print(f"a related prompt reuses {len(found) * BLOCK_TOKENS} of {len(related)} tokens")
    return 0 if right and len(found) == 5 else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: worker.py redis://host:port")
    sys.exit(main(sys.argv[1]))
