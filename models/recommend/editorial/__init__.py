"""Editorial rules applied to lists: withdraw, embargo, age limits, topic limits, bury and pin.

Begin with :mod:`~freshet.models.recommend.editorial.rule_book`.
"""
