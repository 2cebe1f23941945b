"""What freshet computes: events, states, statistics, ranking and measures.

Pure Python, NumPy and pydantic. No Kafka, no Faust, no Qdrant, no clock and no environment; torch and
transformers only below :mod:`freshet.models.neural`.
"""
