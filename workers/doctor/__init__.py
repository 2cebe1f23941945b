"""``freshet doctor``: what is wrong with an installation or a running system, and what to do.

Begin with :mod:`~freshet.workers.doctor.examine`.
"""
