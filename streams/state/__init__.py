"""State of a stream worker: user states, the catalog and other copies of compacted topics.

Imports records, kafka and index. Begin with :mod:`~freshet.streams.state.serving`.
"""
