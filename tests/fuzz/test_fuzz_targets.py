"""A short run of each fuzz target, earlier findings, and tests that the targets find defects.

The long runs are ``python -m tools.fuzz.run``; see ``tools/fuzz/README.md``.
"""

from __future__ import annotations

import importlib
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from whichgen.data.images import decoding as images
from whichgen.errors import ImageError

# The targets are not part of the package.
sys.path.insert(0, str(Path(__file__).parents[2]))

from tools.fuzz.case_limits import Finding, enforce_limits
from tools.fuzz.choices import Choices, mutate
from tools.fuzz.run import FINDINGS, TARGETS

#: Number of cases per target: random mutations of seeds, and random bytes.
_CASES = 400

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Any:
    """Return each target in turn."""
    return importlib.import_module(f"tools.fuzz.targets.{request.param}")


def test_a_short_run_finds_nothing(target: Any) -> None:
    seeds: list[bytes] = target.seeds()

    @settings(max_examples=_CASES)
    @given(
        seed=st.sampled_from(seeds) | st.binary(max_size=64),
        decisions=st.binary(max_size=80),
    )
    def run(seed: bytes, decisions: bytes) -> None:
        target.check(mutate(Choices(decisions), seed))

    for seed in seeds:
        target.check(seed)
    run()


def test_earlier_findings_are_fixed(target: Any) -> None:
    folder = FINDINGS / target.__name__.rpartition(".")[2]
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        target.check(file.read_bytes())


def test_a_seed_of_the_image_loader_is_an_image() -> None:
    # If each seed raised an error, the target would find nothing.
    for seed in importlib.import_module("tools.fuzz.targets.images").seeds():
        assert images.decode_image(seed).mode == "RGB"


def test_seeds_of_models_and_stores_are_accepted() -> None:
    models = importlib.import_module("tools.fuzz.targets.models")
    store = importlib.import_module("tools.fuzz.targets.store")
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            models, "create_model_card", lambda model: calls.append(model.head_method) or ""
        )
        for number in range(len(models.make_models())):
            models.check(bytes([number, 5]))  # no mutation
        assert {"linear", "knn", "fusion", "experts"} <= set(calls)
        patch.setattr(store, "require", lambda holds, what: calls.append(what))
        store.check(b"\0" + store._VALID_SEGMENT)
    assert "invalid rows" in calls


@pytest.mark.parametrize("kind", ["file", "folder", "network", "program", "pickle"])
def test_forbidden_action_is_found(tmp_path: Path, kind: str) -> None:
    import os
    import pickle

    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()

    def misbehave() -> None:
        if kind == "file":
            (outside / "x").write_text("")
        elif kind == "folder":
            list(outside.iterdir())
        elif kind == "network":
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("127.0.0.1", 9))
        elif kind == "program":
            os.system("true")
        else:
            pickle.loads(pickle.dumps(Path))

    with enforce_limits(inside):
        (inside / "x").write_text("")
    with pytest.raises(Finding, match="forbidden"), enforce_limits(inside):
        misbehave()


def test_slow_case_and_violated_invariant_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.fuzz.case_limits.SECONDS", 0.01)
    with pytest.raises(Finding, match="slow"), enforce_limits():
        sum(range(2_000_000))
    checked = importlib.import_module("tools.fuzz.targets.images")

    def gray(data: bytes, name: str = "") -> Image.Image:
        if not data:
            raise ImageError("nothing")
        return Image.new("L", (2, 2))

    monkeypatch.setattr("tools.fuzz.case_limits.SECONDS", 60)
    monkeypatch.setattr(images, "decode_image", gray)
    checked.check(b"")
    with pytest.raises(Finding, match="pixels of L"):
        checked.check(b"x")
