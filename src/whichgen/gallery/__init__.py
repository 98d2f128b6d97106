"""Galleries of many images, apart from a model, to look for the nearest among.

A gallery is a folder: ``gallery.json`` says what it is, ``entries.parquet`` which image each row
is, and the index is plain arrays (:mod:`~whichgen.gallery.index`) or a collection of a
Qdrant service (:mod:`~whichgen.gallery.qdrant`). What images are compared by is said in
:mod:`whichgen.inference.neighbors`; a gallery is of use to the model alone that it was built with.
"""
