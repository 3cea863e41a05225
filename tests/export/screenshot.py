"""The pictures of pages in docs, made anew: `python tests/export/screenshot.py`, about a minute.

Needs `pip install -e '.[browser]'` and a Chromium, as `test_browser.py`. Another version of that
draws other pixels, so no test compares them.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from contextlib import chdir
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from netc.cli.main import main

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
ASKED = ("--devices", "4", "--cluster", "h100", "--batch", "128")
NET = str(ROOT / "models" / "vgg16.net")


def draw() -> None:
    """Write docs/pictures/vgg16-page.png, a plan with a layer chosen, vgg16-diff.png, and
    digits-report.png.
    """
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        file = Path(folder) / "page.html"
        assert main(["plan", NET, *ASKED, "--scheme", "b", "-o", str(file)]) == 0
        _open(page, file)
        page.locator('g.card[data-layer="fc6"]').click()
        _save(page, PICTURES / "vgg16-page.png")
        assert main(["diff", NET, "data", "hybrid", *ASKED, "-o", str(file)]) == 0
        _open(page, file)
        _save(page, PICTURES / "vgg16-diff.png")
        with chdir(folder):
            assert main(["run", "digits", "--epochs", "5", "--report"]) == 0
        page.set_viewport_size({"width": 1400, "height": 1500})
        _open(page, Path(folder) / "runs" / "digits" / "report.html")
        _save(page, PICTURES / "digits-report.png")
        browser.close()


def _open(page: Page, file: Path) -> None:
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]")


def _save(page: Page, path: Path) -> None:
    page.mouse.move(5, 5)
    page.wait_for_timeout(300)
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, optimize=True)


if __name__ == "__main__":
    draw()
