"""The pages that are generated are the ones that the code gives."""

from pathlib import Path

import pytest
from tests.tools.generate_documents import build_documents


@pytest.mark.parametrize("path", build_documents(), ids=lambda path: path.name)
def test_a_generated_page_is_up_to_date(path: Path) -> None:
    assert path.read_text("utf-8") == build_documents()[path], (
        "run: python -m tests.tools.generate_documents"
    )
