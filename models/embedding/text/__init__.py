"""The text encoder: a BERT, its pooling and its batches. Needs torch and transformers.

Begin with :mod:`~freshet.models.embedding.text.encoder`.
"""
