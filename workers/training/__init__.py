"""``freshet train``: which models there are, and one training from folder to bundle.

Begin with :mod:`~freshet.workers.training.train`.
"""
