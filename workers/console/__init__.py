"""Console: a web page that shows a running system.

Imports processes. Begin with :mod:`~freshet.workers.console.server`.
"""
