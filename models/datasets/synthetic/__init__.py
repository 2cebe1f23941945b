"""A synthetic newspaper in MIND's format whose true click probabilities are known.

Begin with :mod:`~freshet.models.datasets.synthetic.folder`.
"""
