"""Offline evaluation: metrics, prequential and temporal hold-out protocols, segments and simulation.

Imports recommend, datasets and what they import. Begin with :mod:`~freshet.models.evaluation.prequential`.
"""
