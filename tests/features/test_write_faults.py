"""A failing disk at any write: existing files stay intact and nothing is half-written."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import whichgen.features.store as store_module
from whichgen.data.open_dataset import open_dataset
from whichgen.data.splits.split_images import split_folder
from whichgen.data.splits.split_options import SplitOptions
from whichgen.encoders.encoder import Encoder
from whichgen.errors import ModelFileError, StoreError
from whichgen.features.store import FeatureStore, compute_feature_key
from whichgen.heads.method_registry import make_head_method
from whichgen.models.origin_model import Calibration, Exemplars, OriginModel
from whichgen.models.saved_model import load_model, save_model
from whichgen.openset.hierarchy import Hierarchy
from whichgen.openset.score_registry import MAX_PROBABILITY

#: Computes nothing.
ENCODER = Encoder(
    name="none",
    weights_hash="0" * 32,
    preprocessing={},
    preprocess=np.asarray,
    encode=lambda pixels: [pixels],
    block_dims=(12, 48),
)

#: The step at which the disk fails, and the error number.
failures = st.tuples(st.integers(0, 45), st.sampled_from([errno.ENOSPC, errno.EIO, errno.EDQUOT]))


@contextmanager
def fail_disk(step: int, number: int) -> Iterator[None]:
    """Let the write, sync or rename number ``step`` and all later ones fail."""
    remaining = step

    def limit(original: Callable[..., Any], *, writes: bool = False) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal remaining
            remaining -= 1
            if remaining >= 0:
                return original(*arguments, **options)
            if writes:
                next(a for a in arguments if isinstance(a, Path)).open("wb").write(b"half a f")
            raise OSError(number, os.strerror(number))

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", limit(os.fsync))
        patch.setattr(Path, "replace", limit(Path.replace))
        for name in ("write_text", "write_bytes"):
            patch.setattr(Path, name, limit(getattr(Path, name), writes=True))
        patch.setattr(store_module, "save_file", limit(store_module.save_file, writes=True))
        yield


def _rows(start: int, stop: int) -> tuple[list[bytes], list[np.ndarray]]:
    rows = np.arange(start, stop, dtype=np.float32)[:, None]
    keys = [compute_feature_key(str(i).encode()) for i in range(start, stop)]
    return keys, [rows + np.arange(12), rows - np.arange(48)]


@settings(max_examples=40)
@given(failures)
def test_a_store_contains_all_added_rows(failure: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory() as root:
        added = 0
        with fail_disk(*failure):
            try:
                store = FeatureStore(Path(root), ENCODER)
                for n in range(10):
                    store.add(*_rows(3 * n, 3 * n + 3))
                    added += 3
            except StoreError as error:
                assert os.strerror(failure[1]) in str(error)
        again = FeatureStore(Path(root), ENCODER)
        assert len(again) == added
        again.add(*_rows(added, 33))
        keys, blocks = _rows(0, 33)
        for block in range(2):
            assert np.array_equal(
                FeatureStore(Path(root), ENCODER).read(keys, block), blocks[block]
            )
        assert not [p for p in again.folder.iterdir() if p.suffix in (".damaged", ".tmp")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, noise: Callable[..., Image.Image]) -> Path:
    """Images of four origins."""
    folder = tmp_path_factory.mktemp("images")
    for tint, origin in enumerate(("real", "gan", "u1", "u2")):
        (folder / origin).mkdir()
        for i in range(4):
            noise(100 * tint + i, tint=tint).save(folder / origin / f"{i}.png")
    return folder


@settings(max_examples=30)
@given(failures)
def test_a_cached_split_is_complete_or_recomputed(folder: Path, failure: tuple[int, int]) -> None:
    options = SplitOptions(unknown=("u1", "u2"))
    with tempfile.TemporaryDirectory() as root:
        whole = split_folder(folder, options)
        with fail_disk(*failure):
            try:
                dataset = open_dataset(str(folder), options, cache=Path(root) / "cache")
            except OSError as error:
                assert error.errno == failure[1]
            else:
                assert dataset == whole
        for _ in range(2):
            assert open_dataset(str(folder), options, cache=Path(root) / "cache") == whole


def _model(seed: int) -> OriginModel:
    x = np.random.default_rng(seed).normal(size=(20, 12)).astype(np.float32)
    labels = np.arange(20) % 2
    head = make_head_method("linear").fit(x, labels, 2, 1.0)
    probabilities = head.forward(x).probabilities
    return OriginModel(
        origins=("real", "gan"),
        encoder=ENCODER.describe(),
        blocks=(0,),
        head_method="linear",
        hyperparameter=1.0,
        head=head,
        threshold=0.5 + seed / 100,
        tpr=0.95,
        data_hash=f"{seed}",
        metrics={},
        run_metadata={},
        score_method="max_probability",
        score=MAX_PROBABILITY,
        temperature=1.0,
        calibration=Calibration(probabilities, labels, probabilities.max(axis=1)),
        exemplars=Exemplars(x, labels, labels == 1),
        hierarchy=Hierarchy({"gan": "GAN"}, None, None, None),
    )


@settings(max_examples=30)
@given(st.integers(0, 12), st.booleans())
def test_a_model_is_the_old_or_the_new_one_or_rejected(step: int, before: bool) -> None:
    old, new = _model(1), _model(2)
    with tempfile.TemporaryDirectory() as root:
        place = Path(root) / "model"
        if before:
            save_model(old, place)
        with fail_disk(step, errno.ENOSPC):
            try:
                save_model(new, place)
            except OSError:
                pass
            else:
                assert load_model(place).data_hash == "2"
        try:
            model = load_model(place)
        except ModelFileError:
            pass
        else:
            weights = {m.data_hash: m.head.tensors() for m in (old, new)}
            for name, array in model.head.tensors().items():
                assert np.array_equal(array, weights[model.data_hash][name])
        save_model(replace(new, tpr=0.9), place)
        assert load_model(place).tpr == 0.9
