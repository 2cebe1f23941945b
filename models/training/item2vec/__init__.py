"""Vectors by ids alone: item2vec, node2vec and the skip-gram training of both.

Begin with :mod:`~freshet.models.training.item2vec.item2vec`.
"""
