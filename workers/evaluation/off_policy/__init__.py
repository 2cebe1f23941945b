"""Estimates a target policy's reward from logs of the behaviour policy.

Begin with :mod:`~freshet.workers.evaluation.off_policy.estimate`.
"""
