"""Open a page in headless Chromium and list its faults."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTHS = (1280, 390)

_FIND_FAULTS = (Path(__file__).with_suffix(".js")).read_text()


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """Yield a browser; without one, skip the test, or fail it in CI."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        if os.environ.get("CI"):
            pytest.fail("CI must have chromium and chromedriver")
        pytest.skip("no chromium or no chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield opened
    finally:
        opened.quit()


def show(browser: webdriver.Chrome, page: Path, width: int = 1280, scheme: str = "light") -> None:
    """Open a page with a viewport of `width` pixels, in light or dark mode."""
    # Without smooth scrolling: a click on a moving page would miss.
    media = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in media.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.resolve().as_uri())


def faults(browser: webdriver.Chrome, page: Path) -> list[str]:
    """Return the faults of a page: errors, requests, overflow, low contrast, missing alternative texts."""
    found: list[str] = []
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # discard entries of earlier pages
    for width, scheme in ((WIDTHS[0], "light"), (WIDTHS[0], "dark"), (WIDTHS[1], "light"), (WIDTHS[1], "dark")):
        show(browser, page, width, scheme)
        found += [f"{width} {scheme}: {fault}" for fault in browser.execute_script(_FIND_FAULTS)]
    found += [entry["message"] for entry in browser.get_log("browser")]
    found += [f"the page asks for {request}" for request in _requests(browser, page.resolve().as_uri())]
    return found


def _requests(browser: webdriver.Chrome, page: str) -> Iterator[str]:
    for entry in browser.get_log("performance"):
        message: dict[str, Any] = json.loads(entry["message"])["message"]
        if message["method"] != "Network.requestWillBeSent" or message["params"]["documentURL"] != page:
            continue  # the browser's own pages
        url: str = message["params"]["request"]["url"]
        if url != page and not url.startswith("data:"):
            yield url
