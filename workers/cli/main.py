"""Command line: a click group whose verbs are the modules of :mod:`freshet.workers.cli.commands`.

A verb's module is imported only when the verb is used, so that ``freshet --version`` loads no Kafka client
and no torch. An unexpected error is one line and exit status 1; ``FRESHET_DEBUG=1`` shows its traceback, and
a log of JSON lines gets it as one of them. Ctrl-C exits silently with 130, as shells expect of an interrupted
program; a service that is stopped exits with 0, even while it starts.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any

import click

from freshet.streams.errors import FreshetError
from freshet.workers.cli import commands
from freshet.workers.processes.stop_signals import handling_stop_signals, leave
from freshet.workers.terminal.printable import escape_unencodable_output, printable, say

SERVICES = {"console", "embed", "stream", "up"}
"""Verbs that run until they are stopped, which is no failure."""
INTERRUPTED = 130
"""Exit status of a program that Ctrl-C ended: 128 + SIGINT."""


class VerbGroup(click.Group):
    """Group that finds its verbs by the file names of :mod:`freshet.workers.cli.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the verbs' names in alphabetical order, without importing any."""
        modules = pkgutil.iter_modules(commands.__path__)
        return sorted(module.name.replace("_", "-") for module in modules if not module.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb's command; return None for a verb that does not exist.

        Raises:
            TypeError: The verb's module has no click command named ``command``.
        """
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{commands.__name__}.{cmd_name.replace('-', '_')}")
        command = getattr(module, "command", None)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module.__name__} must define a click command named `command`.")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb of ``args``; a service handles signals before its module is loaded."""
        if args[0] in SERVICES:
            ctx.with_resource(handling_stop_signals(leave))
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, *pass_on: Any, **options: Any) -> Any:
        """Run the command line as a program: report failures, and exit with the status that says so."""
        if not options.get("standalone_mode", True):
            return super().main(args, *pass_on, **options)
        escape_unencodable_output()
        try:
            status = super().main(args, *pass_on, **{**options, "standalone_mode": False})
        except click.ClickException as error:
            error.message = printable(error.message)
            error.show()
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader of the output has ended, as `head` does.
            _discard_output()
            sys.exit(1)
        except FreshetError as error:
            if not _logged(error):
                say(f"Error: {error}", err=True)
            sys.exit(1)
        except Exception as error:
            if os.environ.get("FRESHET_DEBUG"):
                raise
            if not _logged(error):
                say(f"Error: {_in_words(error)}", err=True)
                say("Set FRESHET_DEBUG=1 to see where it came from.", err=True)
            sys.exit(1)
        sys.exit(status if isinstance(status, int) else 0)


def _in_words(error: Exception) -> str:
    if type(error).__module__.partition(".")[0] in {"kafka", "aiokafka"}:
        return f"Kafka: {error}; `freshet doctor` checks whether it and its topics can be reached."
    if isinstance(error, OSError) and error.strerror is not None:
        # An error of the machine: a full disk, a folder without write permission.
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


def _discard_output() -> None:
    """Redirect standard output to nothing, because Python flushes it at exit and would fail again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _logged(error: Exception) -> bool:
    """Whether ``error`` went to a log of JSON lines, which nothing else may be among."""
    from freshet.workers.processes.logs import log_failure

    return log_failure(error)


@click.group(name="freshet", cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="freshet", prog_name="freshet")
def main() -> None:
    """Recommend news from streams of clicks and articles on Kafka.

    Start with `freshet up`; then `freshet doctor` checks that everything can be reached.
    """
