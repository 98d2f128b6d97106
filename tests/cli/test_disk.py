"""Full disks and read-only folders, simulated by mounting file systems (needs root)."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .conftest import GRID, UNKNOWN, Result, Site, whichgen


@dataclass(frozen=True)
class Disk:
    """In-memory file system mounted at ``folder``."""

    folder: Path

    def remount(self, options: str) -> None:
        """Change the size of the file system, or make it read-only."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mount a disk of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, check=False, capture_output=True).returncode
    ):
        pytest.skip("there is no right to mount here")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


def linear(site: Site, *, cache: Path, out: Path, data: Path | None = None) -> Result:
    """Run ``whichgen linear`` with another cache or output folder."""
    where = ["-d", data or site.images, "--cache-dir", cache, "-o", out]
    encoder = ["-c", "base", "--backbone", site.clip, "--device", "cpu"]
    return whichgen("linear", *where, *encoder, *UNKNOWN, "-b", 0, 1, 2, *GRID)


def figures(run: Path) -> dict[str, Any]:
    """Return results.json without its run metadata."""
    results: dict[str, Any] = json.loads((run / "results.json").read_text())
    results.pop("run_metadata")
    return results


@pytest.mark.parametrize("kib", [4, 24, 48, 72])
def test_a_run_completes_after_a_full_disk(site: Site, disk: Disk, kib: int) -> None:
    disk.remount(f"size={kib}k")
    cache, out = disk.folder / "cache", disk.folder / "out"
    full = linear(site, cache=cache, out=out)
    assert full.code == 1
    assert full.message.count("No space left on device") == 1
    assert "Traceback" not in full.err
    assert not list(disk.folder.rglob("*.damaged")) + list(disk.folder.rglob(".*.tmp"))
    disk.remount("size=64m")
    assert linear(site, cache=cache, out=out).code == 0
    assert figures(out / "tiny_clip/images") == figures(site.run)


def test_a_full_disk_leaves_no_partial_files(site: Site, disk: Disk, tmp_path: Path) -> None:
    disk.remount("size=4k")
    images = [site.images / "flow" / f"00{i}.png" for i in range(3)]
    (disk.folder / "small").write_bytes(b"x" * 4000)
    for arguments in (
        ["enroll", "-m", site.run, "new", *images, "-o", disk.folder / "new"],
        ["attribute", "-m", site.run, *images, "--parquet", disk.folder / "answers.parquet"],
        ["attribute", "-m", site.run, *images, "--report", disk.folder / "report.html"],
        ["attribute", "-m", site.run, *images, "--report", disk.folder / "report.pdf"],
    ):
        full = whichgen(*arguments, "--device", "cpu")
        assert full.code == 1, arguments
        assert full.message.count("No space left on device") == 1
        assert [p.name for p in disk.folder.rglob("*") if p.is_file()] == ["small"]
        disk.remount("size=64m")
        assert whichgen(*arguments, "--device", "cpu").code == 0
        for path in disk.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (disk.folder / "small").write_bytes(b"x" * 4000)
        disk.remount("size=4k")


def test_a_read_only_cache_is_used(site: Site, disk: Disk) -> None:
    for name in ("features", "sweeps"):
        shutil.copytree(site.cache / name, disk.folder / "cache" / name)
    shutil.rmtree(site.cache)
    disk.remount("ro")
    result = linear(site, cache=disk.folder / "cache", out=site.folder / "again")
    assert result.code == 0, result.err
    assert figures(site.folder / "again/tiny_clip/images") == figures(site.run)
    # The cache has no sweep of another head, and the run does not need it.
    other = ["--cache-dir", disk.folder / "cache", "-o", site.folder / "knn", *UNKNOWN]
    assert whichgen("knn", *site.options(), *other).code == 0


def test_a_read_only_cache_without_features_is_an_error(site: Site, disk: Disk) -> None:
    disk.remount("ro")
    result = linear(site, cache=disk.folder / "cache", out=site.folder / "again")
    assert result.code == 1
    assert "can't write the feature store" in result.message and "Read-only" in result.message


def test_a_damaged_segment_in_a_read_only_cache_is_an_error(site: Site, disk: Disk) -> None:
    shutil.copytree(site.cache, disk.folder / "cache")
    segment = next((disk.folder / "cache" / "features").rglob("*.safetensors"))
    segment.write_bytes(segment.read_bytes()[:-1])
    disk.remount("ro")
    result = linear(site, cache=disk.folder / "cache", out=site.folder / "again")
    assert result.code == 1
    assert "can't write the feature store" in result.message and "Read-only" in result.message


def test_unwritable_folder_fails_before_training(
    site: Site, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(site.run, disk.folder / "run")
    shutil.copytree(site.images, disk.folder / "images")
    disk.remount("ro")
    image = disk.folder / "images/flow/000.png"
    with monkeypatch.context() as patch:
        patch.setattr("whichgen.cli.training_run.load_encoder", None)
        patch.setattr("whichgen.inference.attributor.Attributor.load", None)
        for arguments in (
            ["linear", *site.options(out=str(disk.folder / "out")), *UNKNOWN],
            ["enroll", "-m", disk.folder / "run", "new", image],
            ["few-shot", "-m", disk.folder / "run"],
            ["robustness", "-m", disk.folder / "run"],
            ["discover", "-m", site.run, disk.folder / "images", "-o", disk.folder / "groups"],
            ["attribute", "-m", site.run, image, "--parquet", disk.folder / "answers.parquet"],
        ):
            result = whichgen(*arguments)
            assert result.code == 1, arguments
            assert "is not writable. Choose another folder" in result.message
    # Images and models can be read from a read-only folder.
    result = whichgen("attribute", "-m", disk.folder / "run", image, "--device", "cpu", "--json")
    assert result.code == 0 and json.loads(result.out)[0]["origin"]
    where = {"cache": site.folder / "c2", "out": site.folder / "o2"}
    assert linear(site, **where, data=disk.folder / "images").code == 0


def test_a_concurrent_run_is_not_overwritten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """If two runs share a folder, the second to finish fails."""
    import whichgen.cli.training_run as training_module

    out = site.folder / "both"
    original = training_module.fit

    def fit_while_another_run_ends(*arguments: Any, **options: Any) -> Any:
        shutil.copytree(site.run, out / "tiny_clip/images", dirs_exist_ok=True)
        return original(*arguments, **options)

    monkeypatch.setattr(training_module, "fit", fit_while_another_run_ends)
    command = ["linear", *site.options(out="both"), *UNKNOWN, "--C", 1]
    result = whichgen(*command)
    assert result.code == 1 and "contains a run with other settings" in result.message
    assert figures(out / "tiny_clip/images") == figures(site.run)
    assert whichgen(*command, "--force").code == 0
