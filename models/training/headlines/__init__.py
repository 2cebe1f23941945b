"""Fine-tuning of a text encoder on headline tests.

Begin with :mod:`~freshet.models.training.headlines.task`.
"""
