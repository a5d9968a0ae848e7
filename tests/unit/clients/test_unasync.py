"""The blocking client is what the tool makes of the asyncio one."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "unasync.py"


@pytest.fixture(scope="module")
def unasync() -> ModuleType:
    spec = importlib.util.spec_from_file_location("unasync_tool", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_files_are_up_to_date(unasync: ModuleType) -> None:
    assert unasync.main(["--check"]) == 0


def test_nothing_of_asyncio_is_left_in_the_generated_files(unasync: ModuleType) -> None:
    for path, text in unasync.translated().items():
        code = text.replace(unasync.NOTICE.format(name=f"_async/{path.name}"), "")
        for word in ("async ", "await ", "asyncio.", "_async", "Async", "aclose"):
            assert word not in code, f"{word!r} in {path.name}"


def test_a_rule_that_matches_nothing_is_refused(
    unasync: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unasync, "RULES", (*unasync.RULES, ("never_there", "")))
    with pytest.raises(ValueError, match="never_there"):
        unasync.translated()
