"""Adapters of the article index: Qdrant embedded and as a server, a circuit breaker around both.

Imports settings, metrics and errors. Begin with :mod:`~freshet.streams.index.bundle_index`.
"""
