"""The processes of a running system, and how they are started, watched and stopped.

Imports terminal. Begin with :mod:`~freshet.workers.processes.up`.
"""
