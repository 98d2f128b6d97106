"""Format ``NOTICE.md`` and ``README.md`` of the demo pack."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from tools.zoo import photos
from tools.zoo.pack import Origin
from tools.zoo.registry import GENERATORS, Generator

#: Maps each license to its text. The GNU licenses require a copy of the text in the pack.
_LICENSES = {
    "GPL-2.0-or-later": "[licences/GPL-2.txt](licences/GPL-2.txt)",
    "LGPL-3.0-only": "[licences/LGPL-3.txt](licences/LGPL-3.txt) and "
    "[licences/GPL-3.txt](licences/GPL-3.txt)",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "public domain": "no license needed",
}

_NOTICE = """\
# Notice: photographs, licenses, changes

The images in `images/` are **not** under the program's license. `python -m tools.zoo pack` writes
this page.

## How the pack was made

`images/real/` contains {real} random crops of the {photos} photographs below: square, some of them
mirrored, downsampled to 64×64 pixels, stored as uncompressed PNG. `groups.tsv` names the photograph
of each crop. The other folders contain images drawn from generators that `tools/zoo/` trained from
scratch on other crops of the same photographs.

## Which license applies

- **A crop in `images/real/`** is a modified copy (cropped, mirrored, resampled) of its photograph
  and stays under the photograph's license, with the author's name. Share a crop alike where the
  license requires it (CC-BY-SA, GPL, LGPL). The source form is the photograph in its package.
- **A generated image** does not show any one photograph. The makers of the pack claim no rights in
  it (CC0-1.0, as far as any exist). It was made from all the photographs together, so keep this
  page with the pack; where your law treats a generated image as an adaptation, the licenses below
  apply.

## Photographs

| id | author | license | crops | package, file | source |
|---|---|---|---|---|---|
{rows}

The license of the Plasma wallpapers is the one in each wallpaper's own metadata (LGPLv3); the
Debian package states GPL-2.0-or-later for its whole content. The NASA portrait shows a real person
(Eileen Collins) and does not imply an endorsement.

## Licenses

{licenses}
"""

_README = """\
# Demo pack

{images} images of {origins} origins to try `whichgen` without a download: photographs (`real`) and
{generators} small generators trained from scratch on crops of the same photographs. {size:.1f} MB.
`python -m tools.zoo pack` writes this page.

- `images/ORIGIN/0000.png` …: {each} images per origin, 64×64 RGB, uncompressed PNG
- `groups.tsv`: `path` (relative to `images/`) and `group`. The group of a real image is its
  photograph: keep each group in one split. Every generated image is its own group.
- `NOTICE.md`, `licences/`: authors and licenses of the photographs

## How it was made

The code is in [`tools/zoo/`](../tools/zoo). Each generator was trained on {crops} random crops of
{photos} photographs, 64×64 pixels, and drew 6,000 images. The pack contains {each} real crops, at
most two per photograph, and for each crop one image of every generator. An optimal assignment
chooses these images so that mean color, contrast and level of detail (size as a JPEG) match the
crop's. All images have the same size, format and encoder settings. PNG without compression makes
every file equally large. Therefore neither the file nor its mean color predicts the origin: the
shortcut check of `make demo` gives no warning.

| origin | generator | parameters | training, on one H100 GPU shared by all |
|---|---|---|---|
{rows}

Training is limited by time, so it does not repeat bit for bit. The repository does not contain the
weights.

## Limits

These are small generators trained for minutes on tiny crops of {photos} photographs, and the real
crops show the photographs that the generators were trained on. The hardest pairs share a network:
DDPM and flow matching, latent diffusion and VQ-VAE, DCGAN and WGAN-GP.
The known and unknown generators of `make demo` were chosen for a readable demonstration, with test
results in view: its figures are optimistic. With other generators held out, whichgen rejected none
of the unknown images.
**Results on this pack show that the program works; they say nothing about modern generators.**
"""


def format_notice(origins: Sequence[Origin]) -> str:
    """Return the text of ``NOTICE.md``; the first origin must be ``real``."""
    crops, listed = Counter(origins[0].groups), photos.read_list()
    rows = [
        f"| {p.id} | {p.author} | {p.license} | {crops[p.id]} | {p.package.split(':', 1)[1]}, "
        f"`{p.path}` | {p.source} |"
        for p in listed
    ]
    used = [f"- {name}: {_LICENSES[name]}" for name in sorted({p.license for p in listed})]
    return _NOTICE.format(
        real=len(origins[0].images),
        photos=len(listed),
        rows="\n".join(rows),
        licenses="\n".join(used),
    )


def format_readme(origins: Sequence[Origin]) -> str:
    """Return the text of ``README.md``; the first origin must be ``real``."""
    photographs = len(photos.read_list())
    rows = ["| `real` | photographs | | |"]
    rows += [_row(GENERATORS[origin.name]) for origin in origins[1:]]
    return _README.format(
        images=sum(len(origin.images) for origin in origins),
        origins=len(origins),
        generators=len(origins) - 1,
        size=sum(len(data) for origin in origins for data in origin.images) / 1e6,
        each=len(origins[0].images),
        crops=f"{photos.TRAINING_CROPS * photographs:,}",
        photos=photographs,
        rows="\n".join(rows),
    )


def _row(generator: Generator) -> str:
    size = sum(weights.numel() for weights in generator.code.create().parameters())
    log: dict[str, dict[str, float]] = json.loads(generator.log.read_text("utf-8"))
    stages = "; ".join(
        f"{name}: {entry['seconds'] / 60:.1f} min, {entry['steps']:,.0f} steps"
        for name, entry in log.items()
    )
    # The first sentence of each module names the generator and its paper.
    paper = (generator.code.__doc__ or "").partition(".\n")[0].partition(":")[0]
    return f"| `{generator.name}` | {' '.join(paper.split())} | {size / 1e6:.1f} M | {stages} |"
