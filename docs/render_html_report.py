"""Take the picture of ``edgekit report`` for the README.

    python docs/render_html_report.py docs/images/report-html.png

The page is that of the shipped sample compiled for speed, profiled on the virtual board and
compared with the usual build. Needs Chromium, its driver, and selenium (the extra "dev").
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from pathlib import Path

from edgekit.cli import main
from samples.digits import CALIBRATION, MODEL

ROOT = Path(__file__).parents[1]
#: Pixels: what a README shows without scaling it much.
WIDTH, HEIGHT = 1100, 790


def run(*arguments: object) -> None:
    status = main([str(a) for a in arguments])
    if status:
        raise SystemExit(status)


def make_page() -> None:
    """report.html in the current folder, with the names that a user would have chosen."""
    compile_ = ("compile", MODEL, "--calibration", CALIBRATION)
    for name, more in (("digits", ()), ("fast", ("--optimize", "speed"))):
        run(*compile_, *more, "-o", f"out/{name}")
        run("profile", f"out/{name}", "--board", "virtual-cortex-m4", "--json", f"{name}.json")
    run("report", "out/digits", "--profile", "digits.json", "--json", "before.json")
    run("report", "out/fast", "--profile", "fast.json", "--against", "before.json",
        "-o", "report.html")  # fmt: skip


def photograph(page: Path, profile: Path) -> bytes:
    """The page with its heaviest layer selected, as PNG."""
    sys.path.insert(0, str(ROOT / "tests"))
    from browsers import chromium

    with chromium(profile) as driver:
        metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(page.as_uri())
        driver.find_elements("css selector", ".node.layer")[1].click()
        return base64.b64decode(driver.get_screenshot_as_base64())


def render(target: Path) -> None:
    target = target.absolute()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_page()
        picture = photograph(Path(folder) / "report.html", Path(folder) / "chromium")
    target.write_bytes(picture)


if __name__ == "__main__":
    render(Path(sys.argv[1]))
