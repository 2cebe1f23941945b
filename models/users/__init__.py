"""User states: decayed sums of the vectors of clicked and skipped articles, recent clicks and exposures.

Imports embedding and articles. Begin with :mod:`~freshet.models.users.state`.
"""
