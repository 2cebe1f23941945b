"""Gradient-boosted trees stacked on the online ranker, for comparison. Offline only.

Begin with :mod:`~freshet.models.evaluation.trees.stacked_ranker`.
"""
