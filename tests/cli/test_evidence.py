"""``whichgen evidence``."""

from __future__ import annotations

import json

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .conftest import Site, whichgen


def with_job(site: Site) -> str:
    info = PngInfo()
    info.add_itxt("Description", "a cat Job ID: 01234567-89ab-cdef-0123-456789abcdef")
    file = site.folder / "made.png"
    with Image.open(next((site.images / "gan").iterdir())) as image:
        image.save(file, pnginfo=info)
    return str(file)


def test_a_table_says_what_the_file_says_and_what_that_is_worth(site: Site) -> None:
    done = whichgen("evidence", with_job(site), site.images / "real" / "000.png")
    assert done.code == 0
    assert "synthetic" in done.out and "Midjourney" in done.out and "a cat" in done.out
    assert "no credentials, no generator's metadata" in done.out
    assert "the absence of metadata proves nothing" in done.message


def test_json_holds_every_file_and_one_that_is_none_fails_alone(site: Site) -> None:
    (site.folder / "notes.png").write_text("no image")
    done = whichgen("evidence", with_job(site), site.folder / "notes.png", "--json")
    assert done.code == 1 and "1 of 2 images can't be read" in done.message
    made, notes = json.loads(done.out)
    assert [f["generator"] for f in made["findings"]] == ["Midjourney"]
    assert "not an image" in notes["error"]
