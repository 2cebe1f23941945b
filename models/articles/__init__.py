"""Articles: the catalog, click and co-click counts, trending, bursts and an exact index.

Imports events, kernels and ports. Begin with :mod:`~freshet.models.articles.catalog`.
"""
