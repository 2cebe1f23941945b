"""Wire contract: events, requests and control records, with their schemas and examples.

Imports nothing of freshet. Begin with :mod:`~freshet.models.events.events`.
"""
