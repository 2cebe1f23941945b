"""Features of a user and a candidate, and the linear ranker that learns their weights from the stream.

Imports users and what they import. Begin with :mod:`~freshet.models.ranking.features`.
"""
