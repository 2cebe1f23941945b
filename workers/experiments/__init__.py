"""Plan, report and tables of an A/B test, for ``freshet experiment``.

Begin with :mod:`~freshet.workers.experiments.plan`.
"""
