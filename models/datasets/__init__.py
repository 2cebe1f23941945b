"""Readers of MIND, MovieLens, headline tests and freshet's own logs.

Imports embedding and events. Begin with :mod:`~freshet.models.datasets.mind`.
"""
