"""The documentation site and its notebook build, and load nothing from other hosts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from playwright.sync_api import expect, sync_playwright

from test_readme import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with broken links and unknown names as errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class ResourceParser(HTMLParser):
    """Collect the addresses that a browser fetches for a page, without links to follow."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "link" and values.get("rel") in ("canonical", "next", "prev"):
            return
        names = ("src", "srcset", "data", "poster") if tag == "a" else ("src", "srcset", "href")
        self.addresses += [values[name] for name in names if name in values]


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert {"index.html", "concepts.html", "results.html", "attribution.html"} <= {
        page.name for page in pages
    }
    for page in pages:
        parser = ResourceParser()
        parser.feed(page.read_text(encoding="utf-8"))
        assert parser.addresses
        assert [a for a in parser.addresses if re.match(r"(https?:)?//", a)] == [], page
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", text), style


def test_api_reference_is_complete(site: Path) -> None:
    for page, name in {
        "inference": "whichgen.inference.attributor.Attributor.attribute",
        "encoders": "whichgen.encoders.network.build_encoder",
        "evaluation": "whichgen.evaluation.oscr.compute_oscr",
        "heads": "whichgen.heads.head.SweepMethod.sweep",
        "openset": "whichgen.openset.score.OpenSetScore.fit",
        "sklearn": "whichgen.sklearn.OriginClassifier",
    }.items():
        text = (site / "api" / f"{page}.html").read_text(encoding="utf-8")
        assert f'id="{name}"' in text
        # All Sphinx roles and double colons are converted.
        assert not re.search(r":(class|func|meth|mod|data|attr):|::</p>", text), page


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The address of a server for the site."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
def test_search_and_pictures_in_a_browser(address: str) -> None:
    requests: list[str] = []
    with sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address + "concepts.html")
        page.get_by_role("textbox", name="Search").fill("nearest-centroid")
        expect(page.get_by_role("link", name="Add a head").first).to_be_visible()
        page.goto(address + "notebooks/attribution.html")
        pictures = page.locator("article img")
        assert pictures.evaluate_all("all => all.map(i => i.naturalWidth > 100)") == [True, True]
        browser.close()
    assert len(requests) > 5
    assert [url for url in requests if not url.startswith((address, "blob:", "data:"))] == []


def test_notebook_output_is_current() -> None:
    file = ROOT / "docs" / "notebooks" / "attribution.ipynb"
    saved = nbformat.read(file, as_version=4)
    run = nbformat.read(file, as_version=4)
    folder = {"metadata": {"path": str(file.parent)}}
    NotebookClient(run, timeout=120, kernel_name="python3", resources=folder).execute()
    # Output may be split into several pieces.
    new_types, saved_types = (
        [{output.output_type for output in cell.get("outputs", ())} for cell in book.cells]
        for book in (run, saved)
    )
    assert new_types == saved_types
    text, saved_text = (
        "".join(o.text for c in book.cells for o in c.get("outputs", ()) if "text" in o)
        for book in (run, saved)
    )
    # The split is deterministic; figures may differ by one image because of rounding.
    assert text.splitlines()[:2] == saved_text.splitlines()[:2]
    (after,) = re.findall(r"after: (\d+) of 8", text)
    assert int(after) > 4
