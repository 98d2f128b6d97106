"""The generators, one method per file.

The file of a generator has three functions::

    new() -> Module                                   an untrained network
    train(module, crops, budget, seed) -> None        crops: uint8 tensor (n, 3, 64, 64)
    sample(module, n, seed) -> ndarray                uint8 (n, 64, 64, 3)
"""
