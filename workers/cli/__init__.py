"""Command line. Imports every other sub-package; begin with :mod:`~freshet.workers.cli.main`."""
