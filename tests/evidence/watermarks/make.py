"""Make the files of this folder with the library ``invisible-watermark`` 0.2.0.

It needs OpenCV and imports torch, which may be an empty module. The tests read the files only.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from imwatermark import WatermarkDecoder, WatermarkEncoder
from PIL import Image

FOLDER = Path(__file__).parent
SDXL = "101100111110110010010000011110111011000110011110"


def main() -> None:
    """Write two watermarked images, and the bits that the library reads from them."""
    y, x = np.mgrid[:256, :256]
    channels = [(3 * x + y) // 6, 255 - x // 2 - y // 3, 60 + x * y // 400]
    bgr = np.stack(channels[::-1], axis=-1).clip(0, 255).astype(np.uint8)
    encoder = WatermarkEncoder()
    encoder.set_watermark("bytes", b"StableDiffusionV1")
    images = {"stable-diffusion-v1": encoder.encode(bgr, "dwtDct")}
    encoder.set_watermark("bits", [int(bit) for bit in SDXL])
    images["sdxl"] = encoder.encode(bgr.astype(np.float32), "dwtDct").round()
    bits: dict[str, dict[str, str]] = {}
    for name, pixels in images.items():
        image = np.ascontiguousarray(pixels.clip(0, 255).astype(np.uint8))
        Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(
            FOLDER / f"{name}.png", optimize=True
        )
        calls = {
            "uint8": image,
            "float": image.astype(np.float32),
            "float RGB": np.ascontiguousarray(image[..., ::-1].astype(np.float32)),
        }
        bits[name] = {
            f"{variant} {length}": "".join(
                str(int(bit)) for bit in WatermarkDecoder("bits", length).decode(call, "dwtDct")
            )
            for variant, call in calls.items()
            for length in (32, 48, 64, 136)
        }
    (FOLDER / "bits.json").write_text(json.dumps(bits, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
