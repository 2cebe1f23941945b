"""What the terminal shows and takes: tables, progress bars, options and times.

Imports nothing else of the workers.
"""
