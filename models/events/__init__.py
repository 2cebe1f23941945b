"""Events, requests and control records as they go over the wire, with their schemas and examples.

Imports nothing of freshet. Begin with :mod:`~freshet.models.events.events`.
"""
