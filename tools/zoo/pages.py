"""``NOTICE.md`` and ``README.md`` of the demo pack, from what went into it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping

from tools.zoo import photos
from tools.zoo.families import FAMILIES, Family
from tools.zoo.pack import Origin

# Where to read each licence; the texts of the GNU licences are to go with the works themselves and
# lie in demo/licences.
_LICENCES = {
    "GPL-2.0-or-later": "[licences/GPL-2.txt](licences/GPL-2.txt)",
    "LGPL-3.0-only": "[licences/LGPL-3.txt](licences/LGPL-3.txt) and "
    "[licences/GPL-3.txt](licences/GPL-3.txt)",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "public domain": "no licence needed",
}

_NOTICE = """\
# Notice: photographs, licences, changes

The images in `images/` are **not** under the licence of the program. This page is written by
`python -m tools.zoo pack`.

## How the pack was made

`images/real/` holds {real} random crops of the {photos} photographs below: square, some of them
mirrored, downsampled to 64×64 pixels, then enlarged to 96×96 and saved as lossless WebP.
`groups.tsv` names the photograph of each crop. The images in the other folders were drawn from
generators that `tools/zoo/` trained from scratch on such crops; they went through the
same last steps.

## Which licence applies

- **A crop in `images/real/`** is a changed copy (cropped, mirrored, resampled) of its photograph
  and stays under that photograph's licence, with its author's name. Share a crop alike where the
  licence asks for it (CC-BY-SA, GPL, LGPL). The photograph as packaged is the form to change it
  from.
- **A generated image** shows no one photograph. The makers of the pack claim no rights in it
  (CC0-1.0, as far as there are any). It was made from all of the photographs together, so keep this
  page with the pack; where your law takes a generated image for an adaptation, the licences below
  apply.

## Photographs

| id | author | licence | crops | package, file | source |
|---|---|---|---|---|---|
{rows}

The licence of the Plasma wallpapers is that of each wallpaper's own metadata (LGPLv3); the Debian
package states GPL-2.0-or-later for its whole content. The NASA portrait shows a real person
(Eileen Collins) and endorses nothing.

## Licences

{licences}
"""

_README = """\
# Demo pack

{images} images of {origins} origins to try `whichgen` on without downloading anything: photographs
(`real`) and {generators} small generators trained from scratch on crops of those photographs.
{size:.1f} MB. This page is written by `python -m tools.zoo pack`.

- `images/<origin>/0000.webp` …: {each} images an origin, 96×96 RGB, lossless WebP
- `groups.tsv`: `path` (relative to `images/`) and `group`. The group of a real image is its
  photograph: keep a group on one side of a split. Every generated image is a group of its own.
- `NOTICE.md`, `licences/`: authors and licences of the photographs

## How it was made

Code: [`tools/zoo/`](../tools/zoo). {crops} random crops of {photos} photographs, 64×64 pixels;
each generator works at that size. Every image of the pack, real or generated, then takes the
same path: refused if
flat (standard deviation of its grey values under 14 of 255) or if its perceptual hash is within
4 bits of another of its origin; enlarged to 96×96 (Lanczos); saved as lossless WebP without
metadata.

| origin | family | parameters | training, on one busy CPU core | refused: flat, near-duplicate |
|---|---|---|---|---|
{rows}

Losses are running means at the end of training; each is its own family's and they do not compare.
A stage named twice was trained on later. Training is limited by time, and the core was shared, so
it does not repeat to the bit; the weights are not kept in the repository.

## What it is not

Toy generators, minutes of training, tiny images of {photos} photographs. Most of these origins can
be told by eye, by their grids, blur or noise. The closest are DDPM and flow matching, which share a
network, and latent diffusion and VQ-VAE, which share an autoencoder; the first two are far from
trained out and leave noise. Real crops come from the photographs the generators learned from.
**Figures on this pack show that the program works; they say nothing about modern generators.**
"""


def notice(real: Origin) -> str:
    """``NOTICE.md``."""
    crops, listed = Counter(real.groups), photos.listed()
    rows = [
        f"| {p.id} | {p.author} | {p.licence} | {crops[p.id]} | {p.package.split(':', 1)[1]}, "
        f"`{p.path}` | {p.source} |"
        for p in listed
    ]
    used = [f"- {name}: {_LICENCES[name]}" for name in sorted({p.licence for p in listed})]
    return _NOTICE.format(
        real=len(real.images), photos=len(listed), rows="\n".join(rows), licences="\n".join(used)
    )


def readme(packed: Iterable[Origin]) -> str:
    """``README.md``."""
    done = list(packed)
    rows = [_row(origin, FAMILIES.get(origin.name)) for origin in done]
    return _README.format(
        images=sum(len(origin.images) for origin in done),
        origins=len(done),
        generators=len(done) - 1,
        size=sum(len(data) for origin in done for data in origin.images) / 1e6,
        each=len(done[0].images),
        crops=f"{photos.N_CROPS:,}".replace(",", " "),
        photos=len(photos.listed()),
        rows="\n".join(rows),
    )


def _row(origin: Origin, family: Family | None) -> str:
    refused = f"{origin.flat}, {origin.near}"
    if family is None:
        return f"| `{origin.name}` | photographs | | | {refused} |"
    size = sum(weights.numel() for weights in family.load().parameters())
    stages = [
        _stage(name, entry)
        for log in json.loads(family.log.read_text("utf-8"))
        for name, entry in log.items()
    ]
    # The first sentence of each file names the family and its paper.
    paper = (family.code.__doc__ or "").partition(".\n")[0].partition(":")[0]
    return (
        f"| `{origin.name}` | {' '.join(paper.split())} | {size / 1e6:.2f} M | "
        f"{'; '.join(stages)} | {refused} |"
    )


def _stage(name: str, entry: Mapping[str, float]) -> str:
    losses = [
        f"{key.replace('_', ' ')} {value:.3g}"
        for key, value in entry.items()
        if key not in {"steps", "seconds"}
    ]
    minutes = entry["seconds"] / 60
    return f"{name}: {minutes:.1f} min, {entry['steps']:.0f} steps ({', '.join(losses)})"
