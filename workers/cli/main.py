"""The command line's entry: a click group whose verbs are the modules of :mod:`freshet.workers.cli.commands`.

A verb's module is imported when the verb is asked for, never before, so that ``freshet --version`` costs no
Kafka client and no torch. An error that nobody expected is one line and exit status 1; ``FRESHET_DEBUG=1``
shows its traceback, and where the log is of JSON lines it is one of them. Ctrl-C is quiet and exits with 130,
as a shell expects of an interrupted program; a service that is told to stop exits with 0, even as it starts.
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
from freshet.workers.terminal.printable import printable, say, spell_out_what_cannot_be_encoded

SERVICES = {"console", "embed", "stream", "up"}
"""The verbs that run until they are told to stop, which is no failure."""
INTERRUPTED = 130
"""128 + SIGINT: the exit status of a program that Ctrl-C ended."""


class VerbGroup(click.Group):
    """A group that finds its verbs by the file names of :mod:`freshet.workers.cli.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb's name, in alphabetical order, without importing any."""
        modules = pkgutil.iter_modules(commands.__path__)
        return sorted(module.name.replace("_", "-") for module in modules if not module.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command object, imported now; None for a verb that does not exist.

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
        """Find the verb that ``args`` begin with; a service heeds signals before its module is loaded."""
        if args[0] in SERVICES:
            ctx.with_resource(handling_stop_signals(leave))
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, *pass_on: Any, **options: Any) -> Any:
        """Run the command line as a program: report what failed, then exit with the status that says so."""
        if not options.get("standalone_mode", True):
            return super().main(args, *pass_on, **options)
        spell_out_what_cannot_be_encoded()
        try:
            status = super().main(args, *pass_on, **{**options, "standalone_mode": False})
        except click.ClickException as error:
            error.message = printable(error.message)
            error.show()
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader of our output has left, as `head` does.
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
        return f"Kafka: {error}; `freshet doctor` tells whether it and its topics can be reached."
    if isinstance(error, OSError) and error.strerror is not None:
        # The machine's own: a disk that is full, a folder that may not be written to.
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


def _discard_output() -> None:
    """Python writes what is left in its buffers at its end, and would complain once more."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _logged(error: Exception) -> bool:
    """Whether ``error`` went to a log of JSON lines, which nothing else may be among."""
    from freshet.workers.processes.logs import log_failure

    return log_failure(error)


@click.group(name="freshet", cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="freshet", prog_name="freshet")
def main() -> None:
    """Clicks and new articles in on Kafka, fresh top-k recommendations out.

    Start with `freshet up`, then `freshet doctor` says whether everything is reachable.
    """
