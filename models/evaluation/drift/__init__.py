"""Drift of vectors and of categories between two points in time.

Begin with :mod:`~freshet.models.evaluation.drift.vectors`.
"""
