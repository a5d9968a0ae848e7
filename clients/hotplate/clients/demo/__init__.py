"""`hotplate demo`: a real model whose KV cache outlives its process.

    start a server ─► process 1 prefills prompts, stores their blocks, ends
                   ─► process 2 gets the same and related prompts, loads what is stored,
                      prefills the rest, and compares with doing it all itself

Owns the command line and the order of these steps; what the processes do is in `worker`, how it is
told in `report`. Imports neither torch nor transformers. Exit code 1 if a text differs, nothing was
matched or, with --check, a prompt's first token came less than ten times as fast.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hotplate.clients.demo import report
from hotplate.clients.demo.model import TINY, ModelError, find_model
from hotplate.clients.demo.server import DemoServer, ServerError

NEEDED = ("torch", "transformers", "gguf", "accelerate", "numpy")
STORAGES = ("memory", "ssd", "socket")

_INSTALL = """hotplate demo needs {missing}, which are not installed.
Get them with
    pip install 'hotplate[demo]'
(PyTorch alone is about 200 MB for CPUs; pip takes the CUDA build of several GB on most Linux
machines unless told otherwise: pip install torch --index-url https://download.pytorch.org/whl/cpu)
"""


def main(argv: list[str]) -> int:
    """Run the demo; the exit code."""
    options = _parser().parse_args(argv)
    if options.check and options.tiny:
        print("--check measures a real model: leave out --tiny", file=sys.stderr)
        return 2
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(_INSTALL.format(missing=", ".join(missing)), file=sys.stderr, end="")
        return 2
    routes: list[str] = [*STORAGES] if options.storage == "all" else [options.storage]
    try:
        model = TINY if options.tiny else str(find_model(options.model, say=_say))
        results = _run(model, routes, options.rounds)
    except (ModelError, ServerError, subprocess.CalledProcessError) as error:
        print(f"hotplate demo: {error}", file=sys.stderr)
        return 2
    print(report.table(results))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    complaints = report.complaints(results, ratio_min=report.RATIO_MIN if options.check else None)
    for complaint in complaints:
        print(f"FAILED: {complaint}")
    return 1 if complaints else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hotplate demo", description="A real model with its KV cache."
    )
    parser.add_argument("--check", action="store_true", help="fail where the gain is under tenfold")
    parser.add_argument("--tiny", action="store_true", help="a tiny random model: works at once")
    parser.add_argument("--storage", choices=[*STORAGES, "all"], default="all")
    parser.add_argument("--rounds", type=int, default=3, help="measurements, of which the median")
    parser.add_argument("--model", type=Path, help="a GGUF file instead of the one fetched")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser


def _run(model: str, routes: list[str], rounds: int) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="hotplate-demo-") as directory,
        DemoServer(Path(directory)) as server,
    ):
        _say(f"server ready at {server.url}")
        _say("process 1: prefills the prompts and stores their blocks")
        _worker("store", server.url, model, routes, rounds)
        _say("process 2: a fresh process, with and without what is stored")
        return _worker("ask", server.url, model, routes, rounds)


def _worker(task: str, url: str, model: str, routes: list[str], rounds: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "hotplate.clients.demo.worker", task, url, model]
    command += [",".join(routes), str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # stderr: progress
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
