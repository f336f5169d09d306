"""A real headless Chromium for the tests of the viewer: the system's own, driven by Playwright, without any network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
]


def chromium() -> str | None:
    """The path of the system's Chromium: $CHROMIUM, or what is found under its usual names."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("CHROMIUM") or next((p for name in names if (p := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Any]:
    """A running browser. Skips the test where there is none, and fails it under continuous integration."""
    path = chromium()
    if path is None:
        reason = "no Chromium is installed (apt-get install chromium, or CHROMIUM=/path/to/chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield running
        finally:
            running.close()


class Page:
    """One page with a record of everything that it complained about or asked the network for."""

    def __init__(self, running: Any, width: int = 1280, height: int = 900, **options: Any) -> None:
        self.context = running.new_context(viewport={"width": width, "height": height}, **options)
        self.context.set_default_timeout(15_000)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None,
        )
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path, fragment: str = "") -> Any:
        """Open a file and wait until it is drawn."""
        self.page.goto("about:blank")
        self.page.goto(path.resolve().as_uri() + fragment)
        self.page.wait_for_selector("main")
        return self.page

    def close(self) -> None:
        self.context.close()
