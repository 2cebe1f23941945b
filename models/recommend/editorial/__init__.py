"""Editorial rules applied to lists: pin, bury, boost, block and limits on a source.

Begin with :mod:`~freshet.models.recommend.editorial.rule_book`.
"""
