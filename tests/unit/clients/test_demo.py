"""The demo's verdict, its prompts, and what it says when something is missing."""

from pathlib import Path
from typing import Any

import pytest

import hotplate.clients.demo as demo
from hotplate.clients.demo import report
from hotplate.clients.demo.model import ModelError, find_model
from hotplate.clients.demo.prompts import KNOWN_QUESTIONS, NEW_QUESTIONS, prompt


def results(**changes: Any) -> dict[str, Any]:
    row = {
        "prompt": "the same",
        "route": "memory",
        "way": "mapped",
        "prompt_tokens": 2000,
        "matched_tokens": 1984,
        "cold_seconds": [7.0, 6.0, 9.0],
        "warm_seconds": [0.35, 0.3, 0.9],
        "load_seconds": [0.05, 0.04, 0.1],
        "moved_bytes": 91_422_720,
        "logit_difference": 2.3e-5,
        "same_text": True,
    }
    return {"rounds": 3, "threads": 2, "rows": [row | changes]}


def test_a_good_run_has_nothing_to_complain_of() -> None:
    assert report.complaints(results(), ratio_min=report.RATIO_MIN) == []


def test_a_text_that_differs_is_a_failure_with_and_without_a_wanted_ratio() -> None:
    for ratio_min in (None, report.RATIO_MIN):
        [complaint] = report.complaints(results(same_text=False), ratio_min=ratio_min)
        assert "the text differs" in complaint


def test_a_prompt_that_found_nothing_is_a_failure() -> None:
    [complaint] = report.complaints(results(matched_tokens=0), ratio_min=None)
    assert "nothing that was stored was found" in complaint


def test_too_small_a_gain_is_a_failure_only_where_it_is_asked_for() -> None:
    slow = results(warm_seconds=[0.8, 0.8, 0.8])
    assert report.complaints(slow, ratio_min=None) == []
    [complaint] = report.complaints(slow, ratio_min=10.0)
    assert complaint == "the same (memory): 8.8 times as fast, at least 10 wanted"


def test_the_table_shows_medians_and_what_they_mean() -> None:
    head, _, row, note = report.table(results()).splitlines()
    assert head.split("  ")[0] == "prompt"
    for shown in ("7.00 s", "350 ms", "20.0x", "91.4 MB", "1.83", "yes", "2.3e-05", "mapped"):
        assert shown in row
    assert "medians of 3; the model runs on 2 thread(s)" in note


def test_all_prompts_share_one_long_document_and_end_with_their_question() -> None:
    texts = [prompt(question) for question in (KNOWN_QUESTIONS | NEW_QUESTIONS).values()]
    start = texts[0][: texts[0].index("<|im_start|>user")]
    assert len(start.split()) > 1500
    assert all(text.startswith(start) for text in texts)
    assert len(set(texts)) == len(texts) == 3


def test_without_the_extra_the_demo_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "NEEDED", ("json", "not_there_at_all"))
    assert demo.main(["--tiny"]) == 2
    said = capsys.readouterr().err
    assert "not_there_at_all" in said
    assert "pip install 'hotplate[demo]'" in said


def test_a_tiny_model_is_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--tiny", "--check"]) == 2
    assert "leave out --tiny" in capsys.readouterr().err


def test_a_model_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.gguf"):
        find_model(tmp_path / "absent.gguf", say=print)


def test_the_size_is_said_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    events: list[str] = []
    monkeypatch.setattr(
        "hotplate.clients.demo.model._fetch", lambda path: events.append(f"fetched {path}")
    )
    found = find_model(None, say=events.append)
    assert "93 MB" in events[0]
    assert events[1] == f"fetched {found}"
    assert found.parent == tmp_path / "hotplate"
