"""Models of star ratings: matrix factorization, two towers, DSSM and YouTube DNN.

Begin with :mod:`~freshet.models.training.ratings.task`.
"""
