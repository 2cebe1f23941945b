"""``freshet evaluate``, ``compare``, ``drift`` and ``simulate``: measures as text, JSON and HTML.

Begin with :mod:`~freshet.workers.evaluation.protocols`.
"""
