"""Output and input of the terminal: tables, progress bars, options and times.

Imports no other sub-package of ``workers``.
"""
