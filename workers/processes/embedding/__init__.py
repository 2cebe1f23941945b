"""The embedding worker: articles in, vectors out.

Begin with :mod:`~freshet.workers.processes.embedding.worker`.
"""
