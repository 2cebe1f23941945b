"""Readers of MIND, MovieLens, headline tests and freshet's own logs, and a synthetic newspaper.

Imports embedding and events. Begin with :mod:`~freshet.models.datasets.mind`.
"""
