"""Exploration: Thompson sampling, LinUCB and Plackett-Luce, each with its propensities.

Begin with :mod:`~freshet.models.recommend.exploration.policy`.
"""
