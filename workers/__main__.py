"""Runs the command line as ``python -m freshet.workers``, where the script is not on the path."""

from freshet.workers.cli.main import main

main()
