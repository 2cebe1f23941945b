"""A/B tests: assignment of users to variants, outcomes and a sequential test of them.

Imports evaluation and events. Begin with :mod:`~freshet.models.experiments.assignment`.
"""
