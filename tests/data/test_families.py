"""Families of generators: the built-in table and files that override it."""

from __future__ import annotations

from pathlib import Path

import pytest

from whichgen.data.dataset_options import DatasetOptions
from whichgen.data.families import assign_families, read_families
from whichgen.errors import DataError


@pytest.mark.parametrize(
    ("family", "origins"),
    [
        (
            "diffusion",
            "ADM glide Midjourney stable_diffusion_v_1_4 VQDM wukong ldm sdv1_new2 if dalle2 "
            "latent-diffusion midjourney_2022 disco_diffusion glid3_xl stable_diffusion_beta ddpm "
            "vqdiffusion DALL-E-3 iddpm",
        ),
        ("autoregressive", "dalle_mini vqvae pixelcnn VQGAN DALL·E"),
        (
            "GAN",
            "BigGAN celeba_ProGAN_seed0 FFHQ_StyleGAN3_t lsun_MMDGAN FSGAN dcgan wgan-gp stylegan2",
        ),
        ("flow", "flow-matching glow"),
        ("VAE", "vae beta-vae"),
    ],
)
def test_well_known_generators_have_their_family(family: str, origins: str) -> None:
    assert assign_families(origins.split()) == dict.fromkeys(origins.split(), family)


@pytest.mark.parametrize("origin", ["FaceSwap", "wav2lip", "simulacra", "admiral", "editor", "new"])
def test_unknown_generator_is_its_own_family(origin: str) -> None:
    assert assign_families([origin, "real"]) == {origin: origin}


def test_overrides_take_precedence(tmp_path: Path) -> None:
    file = tmp_path / "families.tsv"
    file.write_text("simulacra\tdiffusion\n\nvae\tautoencoder\nnever seen\tGAN\n")
    given = read_families(file)
    assert assign_families(["vae", "simulacra", "dcgan"], given) == {
        "vae": "autoencoder",
        "simulacra": "diffusion",
        "dcgan": "GAN",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("", "is empty. Write one origin<TAB>family"),
        ("gan GAN\n", "line 1: expected `origin<TAB>family`, got 'gan GAN'"),
        ("a\tb\na\tc\n", "line 2: a occurs twice"),
        ("a\t\n", "line 1: expected"),
    ],
)
def test_invalid_families_file_is_an_error(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "families.tsv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_families(file)


def test_options_pass_families_to_the_dataset(image_folder: object, tmp_path: Path) -> None:
    folder = image_folder({"real": 9, "a": 9, "b": 9})  # type: ignore[operator]
    file = tmp_path / "families.tsv"
    file.write_text("a\tGAN\n")
    source = DatasetOptions(str(folder), families=str(file))
    assert source.open(tmp_path / "cache").families == {"a": "GAN"}
    assert DatasetOptions.from_config(source.as_config()) == DatasetOptions(
        str(folder.resolve()),
        families=str(file.resolve()),  # type: ignore[attr-defined]
    )
