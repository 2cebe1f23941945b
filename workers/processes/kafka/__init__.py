"""A local Apache Kafka: its jars, its folder and its process.

Begin with :mod:`~freshet.workers.processes.kafka.broker`.
"""
