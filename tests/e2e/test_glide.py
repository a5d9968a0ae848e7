"""valkey-glide: another client with a core of its own (Rust, RESP3 by default)."""

import pytest
from glide import (
    Batch,
    GlideClient,
    GlideClientConfiguration,
    NodeAddress,
    ProtocolVersion,
    RequestError,
)

from hotplate.bench.process import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.asyncio
@pytest.mark.parametrize("protocol", [ProtocolVersion.RESP2, ProtocolVersion.RESP3])
async def test_glide_stores_counts_batches_and_reads_errors(
    hotplate_server: ServerProcess, protocol: ProtocolVersion
) -> None:
    address = NodeAddress("127.0.0.1", hotplate_server.port)
    client = await GlideClient.create(
        GlideClientConfiguration([address], protocol=protocol, request_timeout=5000)
    )
    try:
        assert await client.set("a", "41") == "OK"
        assert await client.incr("a") == 42
        assert await client.mget(["a", "missing"]) == [b"42", None]
        batch = Batch(is_atomic=True)
        batch.incr("a")
        batch.get("a")
        assert await client.exec(batch, raise_on_error=True) == [43, b"43"]
        with pytest.raises(RequestError, match="NOINSTANCE"):
            await client.custom_command(["KVC.READ", "none", "key"])
    finally:
        await client.close()
