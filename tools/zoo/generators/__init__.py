"""The generators, one family a file.

Each file has the same three functions::

    new() -> Module                                   an untrained network
    train(module, crops, budget, seed) -> None        crops: uint8 tensor (n, 3, 64, 64)
    sample(module, n, seed) -> ndarray                uint8 (n, 64, 64, 3)
"""
