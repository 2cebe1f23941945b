"""Training: the loop, sampled negatives and every trainable model. Needs torch.

Imports evaluation and what it imports. Begin with :mod:`~freshet.models.training.loop`.
"""
