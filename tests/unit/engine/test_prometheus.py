"""The text for Prometheus: every line parses, families are whole, figures are those of STATS."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.testing.kvc_context import Client, KvcServer

from hotplate.engine.prometheus import metrics_text

LINE = re.compile(
    r'^([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)*)\})? (-?[0-9.]+(?:e[-+]?[0-9]+)?)$', re.ASCII
)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    server = KvcServer(tmp_path)
    client = server.client(resp=3)
    client.line("KVC.INSTANCE REGISTER one GROUP default BLOCKTOKENS 2 SPEC kv 5")
    client.line("KVC.PUT one 2 a 12345 b 12345")
    yield client
    server.close()


def samples(client: Client) -> dict[str, float]:
    """`name{labels}` to value. Each family's lines come together, after its TYPE."""
    found: dict[str, float] = {}
    family = ""
    seen: set[str] = set()
    for line in metrics_text(client.server.engine).splitlines():
        if line.startswith("# TYPE "):
            family = line.split()[2]
            assert family not in seen, "a family comes twice"
            seen.add(family)
            continue
        match = LINE.match(line)
        assert match is not None, line
        name, labels, value = match.groups()
        assert name == family or name.removeprefix(family) in ("_bucket", "_sum", "_count")
        key = name if labels is None else f"{name}{{{labels}}}"
        assert key not in found
        found[key] = float(value)
    return found


def test_figures_are_those_of_stats(client: Client) -> None:
    client.line("KVC.GETLOC one COUNT KEYS 3 a b c")
    found = samples(client)
    assert found['hotplate_kvc_hits_total{group="default",type="memory"}'] == 2
    assert found['hotplate_kvc_misses_total{group="default",reason="absent"}'] == 1
    assert found['hotplate_kvc_requested_total{group="default"}'] == 3
    assert found['hotplate_kvc_blocks{group="default"}'] == 2
    where = 'group="default",storage="memory",state="serving"'
    assert found[f"hotplate_kvc_bytes{{{where}}}"] == 10
    assert found['hotplate_kvc_storage_available{storage="ssd",type="ssd"}'] == 1
    assert found["hotplate_connected_clients"] == 1


def test_histograms_are_cumulative_and_end_with_all(client: Client) -> None:
    counters = client.server.cache.counters_of(client.server.catalog.get_instance(b"one"))
    for span_ns in (1, 900, 1_000, 5_000):
        counters.lookup_ns.add(span_ns)
    found = samples(client)
    prefix = 'hotplate_kvc_lookup_seconds_bucket{group="default",le="'
    buckets = [(key, value) for key, value in found.items() if key.startswith(prefix)]
    assert [value for _, value in buckets] == [1, 3, 4, 4]
    bounds = [key.removeprefix(prefix).removesuffix('"}') for key, _ in buckets]
    assert bounds[-1] == "+Inf"
    assert [float(bound) * 1e9 for bound in bounds[:-1]] == pytest.approx([1, 1023, 8191])
    assert found['hotplate_kvc_lookup_seconds_count{group="default"}'] == 4
    assert found['hotplate_kvc_lookup_seconds_sum{group="default"}'] == pytest.approx(6.901e-6)


def test_names_of_users_are_escaped(client: Client) -> None:
    client("KVC.GROUP", "CREATE", 'a"b\\c')
    text = metrics_text(client.server.engine)
    assert 'hotplate_kvc_blocks{group="a\\"b\\\\c"} 0' in text
    samples(client)
