"""``whichgen report``: the HTML page of one run or several."""

from __future__ import annotations

import json

import pytest

from whichgen.io.result_files import format_rate

from .conftest import Site, whichgen


def test_page_of_one_run_has_metrics_and_images(site: Site) -> None:
    result = whichgen("report", site.run)
    assert result.code == 0, result.err
    file = site.run / "report.html"
    assert str(file) in result.message
    text = file.read_text()
    accuracy = json.loads((site.run / "results.json").read_text())["test"]["closed"]["accuracy"]
    assert f'<span class="value">{format_rate(accuracy)}<small> %</small></span>' in text
    assert "data:image/webp;base64," in text
    result = whichgen("report", site.run, "--no-images", "-o", "pages")
    assert result.code == 0, result.err
    assert "data:image/webp;base64," not in (site.folder / "pages/report.html").read_text()


def test_page_of_several_runs_is_in_the_working_folder(site: Site) -> None:
    result = whichgen("report", site.run, site.run)
    assert result.code == 0, result.err
    text = (site.folder / "report.html").read_text()
    assert "2 runs side by side" in text
    assert text.count("<script>") == 1


@pytest.mark.parametrize("arguments", [("nowhere",), (".", "--low-data", "nowhere")])
def test_a_folder_without_a_run_is_an_error(site: Site, arguments: tuple[str, ...]) -> None:
    run = site.run if arguments[0] == "." else arguments[0]
    result = whichgen("report", run, *arguments[1:])
    assert result.code == 1
    assert "not found. Specify the run folder of `whichgen linear`" in result.message
    assert not (site.run / "report.html").exists()
