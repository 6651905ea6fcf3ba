"""Make the pictures of the HTML report: ``python docs/make_pictures.py`` (needs Chromium and the ``html`` extra).

``python docs/make_pictures.py build/site`` photographs pages of a built site instead.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
EXAMPLES = ("test_01_deep_sigmoid.py", "test_05_skip_connections.py", "test_09_transformer.py")
VIEWS = {
    "report-light": (1440, 1150, ()),
    "report-dark": (1440, 1150, ("--force-dark-mode",)),
    "report-phone": (390, 844, ()),
}


PAGES = ("index", "tutorial", "usage", "detection", "rules/vanishing-gradient")
DARK = ("--blink-settings=preferredColorScheme=0",)


def main() -> None:
    """Run examples, and photograph their report; or photograph the site that is named."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    if browser is None:
        raise SystemExit("Chromium or Chrome is needed to make the pictures")
    if sys.argv[1:]:
        site(browser, Path(sys.argv[1]).resolve())
        return
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        examples = [str(ROOT / "examples" / name) for name in EXAMPLES]
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                *examples,
                "--gradhealth-try-seconds=60",
                f"--gradhealth-html={page}",
            ],
            check=True,
            cwd=ROOT,
        )
        for name, (width, height, options) in VIEWS.items():
            photograph(browser, page, PICTURES / f"{name}.png", width, height, options)


def site(browser: str, folder: Path) -> None:
    """Each page on a desk and on a phone, by day and by night."""
    pictures = folder.with_name(f"{folder.name}-pictures")
    pictures.mkdir(exist_ok=True)
    for page in PAGES:
        for width, height in ((1440, 1000), (390, 844)):
            for scheme, options in (("light", ()), ("dark", DARK)):
                picture = pictures / f"{page.replace('/', '-')}-{width}-{scheme}.png"
                photograph(browser, folder / f"{page}.html", picture, width, height, options)
    print(pictures)


def photograph(browser: str, page: Path, picture: Path, width: int, height: int, options: tuple[str, ...]) -> None:
    """One picture of a page at a size in CSS pixels."""
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *options]
    subprocess.run(
        [browser, *switches, f"--window-size={width},{height}", f"--screenshot={picture}", page.as_uri()],
        check=True,
        stderr=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main()
