"""Generated traces of requests: conversations that go on, over shared prefixes."""

import json
from pathlib import Path
from random import Random

from hotplate.optimizer.trace import Request, Trace, numbered


def conversations(seed: int, requests: int, *, block_tokens: int = 16) -> Trace:
    """Some requests begin anew behind one of a few prefixes, most go on with an earlier one."""
    random = Random(seed)
    next_block = 0

    def fresh(count: int) -> list[int]:
        nonlocal next_block
        next_block += count
        return list(range(next_block - count, next_block))

    prefixes = [fresh(random.randint(1, 6)) for _ in range(3)]
    chains: list[list[int]] = []
    made: list[Request] = []
    for _ in range(requests):
        dice = random.random()
        if not chains or dice < 0.3:
            chain = random.choice(prefixes)[: random.randint(0, 6)]
        elif dice < 0.8:
            chain = random.choice(chains[-12:])
        else:
            chain = random.choice(chains)
            chain = chain[: random.randint(0, len(chain))]
        if random.random() < 0.85:
            chain = chain + fresh(random.randint(1, 8))
        chains.append(chain)
        tokens = max(0, len(chain) * block_tokens - random.randint(0, block_tokens - 1))
        made.append(Request(tokens, chain))
    return numbered(made, block_tokens)


def write_trace(path: Path, trace: Trace) -> None:
    """As the JSON lines that `hotplate replay` reads."""
    lines = [
        json.dumps({"timestamp": number, "input_length": item.tokens, "hash_ids": item.blocks})
        for number, item in enumerate(trace.requests)
    ]
    path.write_text("\n".join(lines) + "\n")
