"""Demo: the whole system, run once on a synthetic newspaper.

Begin with :mod:`~freshet.workers.demo.run`.
"""
