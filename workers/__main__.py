"""``python -m freshet.workers``: the command line, where the script is not on the path."""

from freshet.workers.cli.main import main

main()
