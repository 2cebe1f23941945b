"""``freshet soak``: a whole system under steady traffic for a given time.

Begin with :mod:`~freshet.workers.soak.run`.
"""
