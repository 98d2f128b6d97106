"""What a command imports before it answers: heavy packages only where they are needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
