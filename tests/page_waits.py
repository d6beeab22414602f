"""Waiting for what a page does, on pages whose policy forbids the evaluation of text.

Playwright's own ``wait_for_function`` asks again from inside the page. There the page's content policy
refuses, unless the first asking was answered at once: such a test fails on a busy machine only.
"""

from __future__ import annotations

import time
from typing import Any

SECONDS = 30.0
PAUSE_MILLISECONDS = 20


def wait_on_page(page: Any, expression: str, arg: Any = None) -> None:
    """Return once a JavaScript expression, or function of ``arg``, is true on a page."""
    end = time.monotonic() + SECONDS
    while not is_true(page, expression, arg):
        assert time.monotonic() < end, f"not within {SECONDS:.0f} s: {expression}, {arg}"
        page.wait_for_timeout(PAUSE_MILLISECONDS)


def is_true(page: Any, expression: str, arg: Any) -> bool:
    """What the page says now; a page that is just being left says no."""
    from playwright.sync_api import Error

    try:
        return bool(page.evaluate(expression, arg))
    except Error as error:
        if "context was destroyed" in str(error):
            return False
        raise
