"""Diagnosis of an installation and of a running system, with advice on each problem.

Begin with :mod:`~freshet.workers.doctor.examine`.
"""
