"""Commands import heavy packages only if they need them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from conftest import noise_image
from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError

#: Packages that take from 0.3 to 3 seconds to import.
HEAVY = ("transformers", "sklearn", "pandas", "scipy.stats", "scipy.optimize", "faiss")
HEAVY += ("huggingface_hub", "matplotlib", "torchvision", "openvino", "torch")


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        # `whichgen attribute` with the built-in model.
        (
            "whichgen.inference.attributor, whichgen.encoders.dinov2_small_weights, "
            "whichgen.cli.app",
            HEAVY,
        ),
        ("whichgen.evidence.collect, whichgen.cli.app", (*HEAVY, "pyarrow", "scipy")),
    ],
)
def test_heavy_packages_are_not_imported(modules: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {modules}; print(*sorted(set({absent!r}) & sys.modules.keys()))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert not result.stdout.strip()


#: Packages that ``evidence`` needs only for tables, manifests and options other than --json.
LATER = {"rich", "typer", "pydantic", "c2pa", "defusedxml", "cryptography"}


@pytest.mark.parametrize(
    ("kind", "mode", "absent"),
    [
        ("PNG", "RGB", set()),
        ("WEBP", "RGB", set()),
        ("PNG", "L", {"numpy"}),  # NumPy detects watermarks in color images only
        ("JPEG", "L", {"numpy"}),
    ],
)
def test_evidence_imports_only_needed_packages(
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
    unneeded = {*HEAVY, *LATER, "pyarrow", "PIL.TiffImagePlugin", *absent}
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


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO has no wheel here")
def test_attribute_needs_no_torch_once_the_network_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHICHGEN_CACHE", str(tmp_path))
    try:
        load_encoder("dinov2_small", device="openvino")
    except EncoderError as error:
        pytest.skip(str(error))
    noise_image(0, (300, 200)).save(tmp_path / "image.png")
    code = (
        "import sys; from whichgen.cli.app import main\n"
        "try: main()\n"
        f"finally: print(*sorted({{*{HEAVY!r}}} & sys.modules.keys()), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "attribute", str(tmp_path / "image.png")],
        env={**os.environ, "WHICHGEN_DEVICE": "openvino"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "image.png" in result.stdout
    assert result.stderr.splitlines()[-1] == "openvino"
