"""Matrix factorization of clicks, with or without biases.

Begin with :mod:`~freshet.models.training.factorization.matrix_factorization`.
"""
