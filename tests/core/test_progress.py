"""Progress bars: to standard error, and silent where nobody watches."""

from __future__ import annotations

import pytest
from rich.console import Console

from housevis.core import progress


@pytest.mark.parametrize(
    ("setting", "terminal", "shown"), [("on", True, True), ("off", True, False), ("on", False, False)]
)
def test_a_bar_is_drawn_only_for_a_watcher(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    setting: str,
    terminal: bool,
    shown: bool,
) -> None:
    monkeypatch.setenv("HOUSEVIS_PROGRESS", setting)
    monkeypatch.setattr(progress, "error_console", Console(stderr=True, force_terminal=terminal, width=100))
    with progress.progress_bar("tiles", 10, done=4) as bar:
        bar.describe("tiles of the town")
        bar.advance(6)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("10/10" in printed.err) is shown


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    progress.console.print("a path [bold] :house: " + "x" * 300, markup=False)
    assert capsys.readouterr().out == "a path [bold] :house: " + "x" * 300 + "\n"
