"""User states: decayed sums of the vectors of what a user clicked and skipped, and what is known beside them.

Imports embedding and articles. Begin with :mod:`~freshet.models.users.state`.
"""
