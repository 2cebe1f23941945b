"""Records on their way in and out: intake, dead letters, log context and traces.

Imports kafka. Begin with :mod:`~freshet.streams.records.intake`.
"""
