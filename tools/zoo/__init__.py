"""Eight small generators trained from scratch on free photographs, and the demo pack they make.

``python -m tools.zoo photos`` collects the photographs of ``photos.json``,
``python -m tools.zoo train all`` trains the generators, ``python -m tools.zoo pack`` writes
``demo/``. Nothing here is part of the
``whichgen`` package: the zoo only makes a small, freely licensed set of images to try it on.
"""
