"""Intake of records, dead letters, log context and traces.

Imports kafka. Begin with :mod:`~freshet.streams.records.intake`.
"""
