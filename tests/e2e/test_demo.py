"""`hotplate demo` with its tiny model: two processes, all storages, the same text.

Skipped where the extra `demo` is not installed; the real model is run by `make demo`.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hotplate.clients.demo import NEEDED

MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"the extra `demo` is not installed: no {MISSING}"),
]


def test_a_second_process_continues_what_the_first_one_stored(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    code = "import sys; from hotplate.clients.demo import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "--tiny", "--rounds", "1", "--json", str(figures)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(figures.read_text())["rows"]
    assert [row["route"] for row in rows] == ["memory", "ssd", "socket"] * 3
    assert {row["route"]: row["way"] for row in rows} == {
        "memory": "mapped",
        "ssd": "mapped",
        "socket": "socket",
    }
    for row in rows:
        assert row["same_text"]
        assert row["prompt_tokens"] > row["matched_tokens"] >= 1000
        assert row["logit_difference"] < 1e-3
    assert "TTFT warm" in done.stdout
