"""Vectors of articles: the bundle of trained weights and the towers that embed with it.

Imports events, kernels and ports. Begin with :mod:`~freshet.models.embedding.bundle`.
"""
