"""``freshet soak``: a whole system under steady traffic for as long as it is told.

Begin with :mod:`~freshet.workers.soak.run`.
"""
