"""Simulation of exploration policies on synthetic worlds.

Begin with :mod:`~freshet.workers.evaluation.simulation.run`.
"""
