"""Simulated readers with known click probabilities, who meet the code that serves.

Begin with :mod:`~freshet.models.evaluation.simulation.run`.
"""
