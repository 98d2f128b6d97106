"""whichgen: which generative model made this image?

>>> from whichgen import Attributor
>>> attributor = Attributor.load("runs/demo/model")
>>> attributor.attribute(["photo.jpg"])[0].origin

An image flows through the sub-packages in this order, and imports run one way along it::

    io → data → encoders → features → heads → openset → evaluation → models → inference → gallery
         → cluster → training → experiments → report → service → cli

``whichgen.sklearn`` has the same as a scikit-learn classifier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whichgen.version import __version__

if TYPE_CHECKING:
    from whichgen.inference.attributor import Attribution, Attributor

__all__ = ["Attribution", "Attributor", "__version__"]


def __getattr__(name: str) -> Any:
    # Imported on first use: `import whichgen` (and `whichgen --help`) must not import torch.
    if name in ("Attributor", "Attribution"):
        from whichgen.inference import attributor

        return getattr(attributor, name)
    raise AttributeError(f"module 'whichgen' has no attribute {name!r}")
