"""The answer to a request: candidates, ranking, diversity, exploration, editorial rules, explanations.

Imports ranking and what it imports. Begin with :mod:`~freshet.models.recommend.pipeline`.
"""
