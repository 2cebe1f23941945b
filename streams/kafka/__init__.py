"""Connections to Kafka: topics, consumers, group membership, progress, tables and the outbox.

Imports settings, metrics and errors. Begin with :mod:`~freshet.streams.kafka.topics`.
"""
