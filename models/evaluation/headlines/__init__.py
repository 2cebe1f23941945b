"""Evaluation of headline tests: which headline of the same article is clicked more.

Begin with :mod:`~freshet.models.evaluation.headlines.pairwise`.
"""
