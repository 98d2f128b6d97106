"""A few deaths of ``tools/faults/kill.py``, and tests of its checks."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

HARNESS = Path(__file__).parents[2] / "tools" / "faults"


@pytest.fixture(scope="module", autouse=True)
def _harness() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HARNESS)
        yield


@pytest.fixture(scope="module")
def rounds(
    tmp_path_factory: pytest.TempPathFactory, tiny_clip: Path, noise: Callable[..., Image.Image]
) -> Any:
    """Rounds on a separate site."""
    from rounds import Rounds
    from stages import make_site

    folder = tmp_path_factory.mktemp("faults")
    site = make_site(folder / "site", lambda place: shutil.copytree(tiny_clip, place), noise)
    return Rounds(site, folder / "snapshots", random.Random(0), at_writes=1)


@pytest.mark.parametrize(("stage", "deaths"), [("EXTRACT", 2), ("FIT", 1), ("ENROLL", 2)])
def test_killed_run_resumes_to_the_same_result(rounds: Any, stage: str, deaths: int) -> None:
    import stages

    rounds.kill_and_resume(getattr(stages, stage), deaths)
    assert not rounds.tally.problems
    # The second of two enrollments may have nothing left to write.
    assert rounds.tally.count_deaths(stage.lower()) >= 1


@pytest.mark.parametrize("deaths", [0, 1])
def test_concurrent_runs_give_the_result_of_one(rounds: Any, deaths: int) -> None:
    from stages import EXTRACT

    rounds.run_concurrently(EXTRACT, 2, deaths)
    assert not rounds.tally.problems


def test_killed_service_restarts_and_gives_the_same_answers(rounds: Any) -> None:
    from serving import ServeRounds
    from stages import EXTRACT

    rounds.run_reference(EXTRACT)
    before = rounds.snapshots / EXTRACT.name
    ServeRounds(rounds.site, before, rounds.rng, rounds.tally).run(2)
    assert not rounds.tally.problems
    assert rounds.tally.count_deaths("serve") == 2


@pytest.mark.parametrize("moment", ["half", "written", "renamed"])
def test_process_dies_at_the_requested_moment(rounds: Any, moment: str) -> None:
    from stages import EXTRACT, Command
    from state import find_leftovers

    rounds.prepare(EXTRACT)
    stderr = rounds.snapshots / "stderr.txt"
    # The first write is the description of the encoder.
    command = Command(EXTRACT.arguments(rounds.site), stderr, 1, moment)
    assert command.wait(60) == -9
    files = list(rounds.site.work.rglob("encoder.json"))
    temporaries = find_leftovers(rounds.site.work)
    assert (len(files), len(temporaries)) == ((1, 0) if moment == "renamed" else (0, 1))
    (file,) = (*files, *temporaries)
    content = file.read_text()
    assert Command(EXTRACT.arguments(rounds.site), stderr, 10**6, moment).wait(60) == 0
    (complete,) = rounds.site.work.rglob("encoder.json")
    text = complete.read_text()
    assert content == (text[: len(content)] if moment == "half" else text)
    assert (len(content) < len(text)) == (moment == "half")


def test_state_detects_lost_changed_and_damaged_files(tmp_path: Path) -> None:
    from state import compute_state, list_differences

    features = tmp_path / "cache" / "features" / "encoder"
    features.mkdir(parents=True)
    rows = {"keys": np.eye(2, 32, dtype=np.uint8), "block_000": np.ones((2, 3), np.float32)}
    save_file(rows, features / "a.safetensors")
    (tmp_path / "results.json").write_text('{"time": "2026-01-01T00:00:00+00:00", "auroc": 1}')
    before = compute_state(tmp_path)
    # The same rows in another segment and another time make no difference.
    save_file({k: v[:1] for k, v in rows.items()}, features / "b.safetensors")
    (tmp_path / "results.json").write_text('{"time": "2027-02-03T04:05:06+00:00", "auroc": 1}')
    assert not list_differences(compute_state(tmp_path), before)
    (tmp_path / "results.json").write_text('{"time": "2027-02-03T04:05:06+00:00", "auroc": 2}')
    (tmp_path / "more.csv").touch()
    assert list_differences(compute_state(tmp_path), before) == [
        "unexpected: more.csv",
        "different: results.json",
    ]
    (features / "a.safetensors").unlink()
    assert len(list_differences(compute_state(tmp_path), before)) == 3
    save_file({**rows, "block_000": rows["block_000"] + 1}, features / "c.safetensors")
    with pytest.raises(AssertionError, match="another"):
        compute_state(tmp_path)
    (features / "c.safetensors").rename(features / "c.damaged")
    with pytest.raises(AssertionError, match="damaged"):
        compute_state(tmp_path)
