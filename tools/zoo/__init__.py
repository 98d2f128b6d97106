"""Train seven small generators on freely licensed photographs, and make the demo pack from them.

Run these steps in this order in the root folder of the repository:

1. ``python -m tools.zoo photos`` downloads the photographs listed in ``photos.json``.
2. ``python -m tools.zoo train all`` trains the generators (one GPU, or hours on a CPU).
3. ``python -m tools.zoo draw all`` draws candidate images from each generator.
4. ``python -m tools.zoo pack`` selects the images of the pack and writes ``demo/``.

The ``whichgen`` package does not use this code.
"""
