"""One origin for all names of a generator, and a file with more names."""

from __future__ import annotations

from pathlib import Path

import pytest

from whichgen.data.origins.generator_names import normalize_name
from whichgen.errors import DataError
from whichgen.evidence.collect import collect
from whichgen.evidence.generator_aliases import read_aliases, resolve_origin

from .conftest import png


@pytest.mark.parametrize(
    ("names", "origin"),
    [
        (("gpt-image 2.0", "gpt_image_2", "OpenAI gpt-image-2", "GPT Image 2"), "gpt-image-2"),
        (("DALL·E 3", "dalle_3", "OpenAI DALL-E 3", "dall-e-3"), "dall-e-3"),
        (("FLUX.1-dev", "flux1-dev-fp8", "black-forest-labs/FLUX.1-dev"), "flux-1-dev"),
        (("v1-5-pruned-emaonly", "Stable Diffusion 1.5", "sd_1.5"), "stable-diffusion-1.5"),
        (("SDXL 1.0", "sd_xl_base_1.0", "Stable Diffusion XL"), "sdxl"),
        (("Meta AI", "Imagined with AI"), "meta-ai"),
        (("juggernautXL_v9", "", "0", "Nikon"), ""),
    ],
)
def test_names_of_one_generator_are_one_origin(names: tuple[str, ...], origin: str) -> None:
    assert {resolve_origin(name) for name in names} == {origin}


def test_versions_stay_apart() -> None:
    versions = ("gpt-image-1", "gpt-image-1.5", "gpt-image-2", "gpt-image pre-2.0", "gpt-image-10")
    assert len({normalize_name(name) for name in versions}) == len(versions)
    assert normalize_name("Toy 1.5") != normalize_name("Toy 15")


def test_file_extends_and_overrides_the_table(tmp_path: Path) -> None:
    file = tmp_path / "aliases.tsv"
    file.write_text("juggernautXL*\tsdxl\n\nGPT image 2\tour-gpt\n", encoding="utf-8-sig")
    aliases = read_aliases(file)
    assert resolve_origin("juggernautXL_v9", aliases) == "sdxl"
    assert resolve_origin("gpt-image 2.0", aliases) == "our-gpt"
    assert resolve_origin("Midjourney", aliases) == "midjourney"
    text = "a fox\nSteps: 20, Sampler: Euler, Model: juggernautXL_v9"
    (finding,) = collect(png({"parameters": text}), aliases=aliases).findings
    assert (finding.generator, finding.origin) == ("juggernautXL_v9", "sdxl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no entries"),
        ("gpt-image 2\n", r"line 1: expected `name<TAB>origin`, got 'gpt-image 2'"),
        ("a\tb\n---\tc\n", "line 2"),
        ("a\t\n", "line 1"),
    ],
)
def test_invalid_file_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "aliases.tsv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_aliases(tmp_path / "aliases.tsv")
