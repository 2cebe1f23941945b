"""Two-tower models of clicks: content tower, DSSM and YouTube DNN.

Begin with :mod:`~freshet.models.training.towers.slate_task`.
"""
