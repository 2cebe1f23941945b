"""What freshet computes: events, states, statistics, ranking and measures.

Pure Python, NumPy and pydantic. No Kafka, no Faust, no Qdrant, no clock and no environment; torch and
transformers only in :mod:`~freshet.models.training` and :mod:`freshet.models.embedding.text`.
"""
