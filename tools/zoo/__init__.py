"""Seven small generators trained on freely licensed photographs, and the demo pack they make.

Run the steps in this order, from the repository's root:

1. ``python -m tools.zoo photos`` downloads the photographs listed in ``photos.json``.
2. ``python -m tools.zoo train all`` trains the generators (one GPU, or hours on a CPU).
3. ``python -m tools.zoo draw all`` draws candidate images from each generator.
4. ``python -m tools.zoo pack`` selects the images of the pack and writes ``demo/``.

The ``whichgen`` package does not use this code.
"""
