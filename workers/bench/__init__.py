"""``freshet bench``: throughput, latency, freshness and more, each beside a floor.

Begin with :mod:`~freshet.workers.bench.run`.
"""
