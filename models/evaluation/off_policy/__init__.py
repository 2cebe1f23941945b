"""Off-policy estimates: what another policy would have earned, from the log of the one that served.

Begin with :mod:`~freshet.models.evaluation.off_policy.estimate`.
"""
