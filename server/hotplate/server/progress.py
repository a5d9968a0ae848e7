"""A bar on the terminal while data is loaded; nothing where the output is no terminal."""

import time
from typing import Final, TextIO

from hotplate.persist.replay import Progress

_COLUMNS: Final = 40
_SHOWN_EVERY_S: Final = 0.1
_FIRST_AFTER_S: Final = 0.5  # what is loaded at once needs no bar


class ProgressBar:
    """Draws itself over and over in one line."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._is_terminal = output.isatty()
        self._next_s = time.monotonic() + _FIRST_AFTER_S
        self._is_shown = False

    def show(self, progress: Progress) -> None:
        """Draw it, now and then."""
        if self._is_terminal and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _SHOWN_EVERY_S
            self._is_shown = True
            self._output.write("\r" + draw(progress))
            self._output.flush()

    def end(self, progress: Progress) -> None:
        """Leave the line complete."""
        if self._is_shown:
            self._output.write("\r" + draw(progress) + "\n")
            self._output.flush()


def draw(progress: Progress) -> str:
    """The bar as text."""
    total = progress.total_bytes or 1
    share = min(progress.loaded_bytes / total, 1.0)
    full = round(share * _COLUMNS)
    bar = "█" * full + "·" * (_COLUMNS - full)
    megabytes = progress.total_bytes / 1_000_000
    return f"loading {bar} {share:4.0%} of {megabytes:.0f} MB, {progress.requests} records"
