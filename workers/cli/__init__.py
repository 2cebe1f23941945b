"""The command line. Imports everything else. Begin with :mod:`~freshet.workers.cli.main`."""
