"""``freshet demo``: the whole system once on a synthetic newspaper.

Begin with :mod:`~freshet.workers.demo.run`.
"""
