"""Reports of ``freshet evaluate``, ``compare``, ``drift`` and ``simulate``, as text, JSON and HTML.

Begin with :mod:`~freshet.workers.evaluation.protocols`.
"""
