"""A combination has the features of its members."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whichgen.data.dataset import Sample
from whichgen.encoders.combinations import combine_encoders
from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError
from whichgen.features.extraction import extract
from whichgen.features.store import FeatureStore


def test_blocks_are_bitwise_those_of_the_members(
    tiny_clip: Path, noise: Callable[..., Image.Image]
) -> None:
    joined = load_encoder(f"{tiny_clip}+traces", device="cpu")
    members = [load_encoder(name, device="cpu") for name in (str(tiny_clip), "traces")]
    images = [noise(seed) for seed in range(3)]
    blocks = joined.encode(np.stack([joined.preprocess(image) for image in images]))
    expected = [
        block
        for member in members
        for block in member.encode(np.stack([member.preprocess(image) for image in images]))
    ]
    assert joined.name == f"{tiny_clip}+traces"
    assert joined.block_dims == tuple(block.shape[1] for block in expected)
    for a, b in zip(blocks, expected, strict=True):
        assert np.array_equal(a, b)


def test_block_groups_stay_separate_by_member(tiny_clip: Path) -> None:
    joined = load_encoder(f"{tiny_clip}+traces", device="cpu")
    assert joined.block_groups == (((0, 1, 2),), tuple((b,) for b in range(3, 11)))
    assert load_encoder(str(tiny_clip), device="cpu").block_groups == (((0, 1, 2),),)


def test_rows_of_the_store_are_those_of_the_members(
    tiny_clip: Path, noise: Callable[..., Image.Image], tmp_path: Path
) -> None:
    samples = []
    for seed in range(3):
        noise(seed).save(tmp_path / f"{seed}.png")
        samples.append(Sample(tmp_path / f"{seed}.png", "real"))
    tables = {
        name: extract(samples, encoder, FeatureStore(tmp_path / "store", encoder))
        for name in (str(tiny_clip), "traces", f"{tiny_clip}+traces")
        for encoder in (load_encoder(name, device="cpu"),)
    }
    joined = tables[f"{tiny_clip}+traces"]
    assert np.array_equal(joined.read_block(2), tables[str(tiny_clip)].read_block(2))
    assert np.array_equal(joined.read_block(10), tables["traces"].read_block(7))
    both = joined.read_blocks((2, 10))
    assert np.array_equal(both, np.hstack([joined.read_block(2), joined.read_block(10)]))


def test_the_key_depends_on_all_members_in_order(counting: Callable[..., object]) -> None:
    def key(*weights: str) -> str:
        return combine_encoders([counting(weights=w * 32).encoder for w in weights]).key  # type: ignore[attr-defined]

    assert key("a", "b") == key("a", "b")
    assert len({key("a", "b"), key("b", "a"), key("a", "c"), key("a")}) == 4


def test_encoders_without_weights_can_be_combined_with_a_network(tiny_clip: Path) -> None:
    name = f"traces+traces:half+spectra+{tiny_clip}:crops"
    joined = load_encoder(name, device="cpu")
    members = [load_encoder(member, device="cpu") for member in name.split("+")]
    assert joined.name == name
    assert joined.block_dims == (312,) * 12 + (1089,) * 3 + (369,) + members[-1].block_dims
    assert [len(groups) for groups in joined.block_groups] == [8, 4, 4, 1]
    image = Image.radial_gradient("L").convert("RGB")
    blocks = joined.encode(joined.preprocess(image)[None])
    expected = [b for m in members for b in m.encode(m.preprocess(image)[None])]
    for ours, theirs in zip(blocks, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["traces+", "+traces", "traces+traces"])
def test_invalid_combinations_are_rejected(name: str) -> None:
    with pytest.raises(EncoderError, match="Join different encoders"):
        load_encoder(name)
