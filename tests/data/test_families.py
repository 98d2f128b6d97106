"""Families of generators: the built-in table and files that override it."""

from __future__ import annotations

from pathlib import Path

import pytest

from whichgen.data.dataset_options import DatasetOptions
from whichgen.data.origins.families import assign_families, read_families
from whichgen.errors import DataError


@pytest.mark.parametrize(
    ("family", "origins"),
    [
        ("OpenAI GPT image", "gpt_image_1 gpt-image-1.5 openai_gpt_image_2 GPT-4o"),
        ("Google Gemini image", "gemini_2_5_flash_image google_gemini nano_banana_pro"),
        ("Google Imagen", "imagen_3 google-imagen-4 google_deepmind_imagen_3"),
        ("Midjourney", "Midjourney midjourney_2022 midjourney_v6 niji_5"),
        ("Stable Diffusion 1", "stable_diffusion_v_1_4 sd15 sdv1_new2 stable_diffusion_1.5 sd-1.4"),
        ("Stable Diffusion 2", "stable_diffusion_2 sd21 sd_turbo"),
        ("SDXL", "sdxl sdxl_turbo stable-diffusion-xl-base-1.0 sd_xl_base"),
        ("FLUX.1", "flux_1_dev flux1-schnell FLUX.1-Kontext black-forest-labs/FLUX.1-dev"),
        (
            "diffusion",
            "ADM glide VQDM wukong ldm if latent-diffusion disco_diffusion glid3_xl ddpm "
            "vqdiffusion iddpm",
        ),
        ("autoregressive", "vqvae pixelcnn VQGAN DALL·E"),
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


@pytest.mark.parametrize("origin", ["midjourney", "flux_1", "DALL-E-3", "openai_gpt_image"])
def test_single_origin_named_like_its_family_is_its_own_family(origin: str) -> None:
    assert assign_families([origin, "real"]) == {origin: origin}


@pytest.mark.parametrize("origin", ["FaceSwap", "wav2lip", "simulacra", "admiral", "editor", "new"])
def test_unknown_generator_is_its_own_family(origin: str) -> None:
    assert assign_families([origin, "real"]) == {origin: origin}


def test_overrides_take_precedence(tmp_path: Path) -> None:
    file = tmp_path / "families.tsv"
    file.write_text(
        "simulacra\tdiffusion\n\nvae\tautoencoder\nnever seen\tGAN\nHouse Painter*\tours\n"
    )
    given = read_families(file)
    assert assign_families(["vae", "simulacra", "dcgan", "house_painter_2"], given) == {
        "vae": "autoencoder",
        "simulacra": "diffusion",
        "dcgan": "GAN",
        "house_painter_2": "ours",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("", "has no entries. Write one origin<TAB>family"),
        ("gan GAN\n", "line 1: expected `origin<TAB>family`, got 'gan GAN'"),
        ("a\tb\na\tc\n", "line 2: a has more than one family: b and c"),
        ("a 1\tb\nA_1\tc\n", "line 2: A_1 has more than one family: b and c"),
        ("…\tb\n", "line 1: the name '…' has no letter"),
        ("a\t\n", "line 1: expected"),
        ("a,b\n,c\n", r"line 2: expected `origin,family`, got ',c'"),
        ("family;note;origin\nb;c\n", r"line 2: expected `family;note;origin`, got 'b;c'"),
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
