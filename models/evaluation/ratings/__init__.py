"""Evaluation of star ratings: RMSE, top-n lists and the baselines for both.

Begin with :mod:`~freshet.models.evaluation.ratings.evaluation`.
"""
