"""What a command imports before it answers: heavy packages only where they are needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

#: Packages that take from 0.3 to 3 seconds to import.
HEAVY = ("transformers", "sklearn", "pandas", "scipy.stats", "scipy.optimize", "faiss")
HEAVY += ("huggingface_hub", "matplotlib", "torchvision", "openvino")


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        # `whichgen attribute` with the built-in model.
        ("whichgen.inference.attributor, whichgen.encoders.dinov2, whichgen.cli.app", HEAVY),
        ("whichgen.evidence.collect, whichgen.cli.app", (*HEAVY, "torch", "pyarrow", "scipy")),
    ],
)
def test_heavy_packages_are_not_imported(modules: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {modules}; print(*sorted(set({absent!r}) & sys.modules.keys()))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert not result.stdout.strip()


#: Packages that ``evidence`` imports only for tables, options other than --json and manifests.
LATER = {"rich", "typer", "pydantic", "c2pa", "defusedxml", "cryptography"}


@pytest.mark.parametrize(
    ("kind", "mode", "absent"),
    [
        ("PNG", "RGB", set()),
        ("WEBP", "RGB", set()),
        ("PNG", "L", {"numpy"}),  # only colors can hold the watermarks that NumPy finds
        ("JPEG", "L", {"numpy"}),
    ],
)
def test_evidence_imports_what_the_file_needs(
    kind: str, mode: str, absent: set[str], tmp_path: Path
) -> None:
    Image.radial_gradient("L").convert(mode).save(tmp_path / "picture", kind)
    code = """if True:
        import sys
        from whichgen.cli.app import main
        main()
        print(*sys.modules)
    """
    result = subprocess.run(
        [sys.executable, "-c", code, "evidence", tmp_path / "picture", "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules = set(result.stdout.rpartition("]")[2].split())
    assert "whichgen.evidence.collect" in modules
    unneeded = {*HEAVY, *LATER, "torch", "pyarrow", "PIL.TiffImagePlugin", *absent}
    assert not unneeded & modules


def test_a_command_imports_no_other_command() -> None:
    code = """if True:
        import sys
        from whichgen.cli.app import main
        try:
            main()
        except SystemExit:
            print(*(name for name in sys.modules if name.startswith("whichgen.cli.")))
    """
    result = subprocess.run(
        [sys.executable, "-c", code, "verify", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "whichgen.cli.verify" in result.stdout
    for module in ("train", "attribute", "dataset", "serve", "experiments"):
        assert f"whichgen.cli.{module} " not in result.stdout
