"""Drift between two bundles or two periods.

Begin with :mod:`~freshet.workers.evaluation.drift.report`.
"""
