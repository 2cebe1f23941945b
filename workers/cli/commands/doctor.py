"""``freshet doctor``: check that everything can be reached, and say what to do if not."""

from __future__ import annotations

import click
from rich.text import Text

from freshet.streams.settings import Settings
from freshet.workers.cli.options import json_option
from freshet.workers.terminal.connection_options import settings_options
from freshet.workers.terminal.results import say_json
from freshet.workers.terminal.terminal import Terminal

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_SUBJECT_WIDTH = 20


@click.command()
@json_option
@settings_options("partitions", "encoder", "dimension", "metrics_host", "metrics_port")
def command(settings: Settings, as_json: bool) -> None:
    """Check this machine, Kafka, its topics and the index, and say what to do about each problem.

    Nothing is changed. The exit status is 1 if a check fails; a warning is not a failure.
    """
    from freshet.workers.doctor.examine import examine
    from freshet.workers.processes.logs import set_up_logs

    set_up_logs(settings=settings)
    console = Terminal(highlight=False)
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            line = Text.assemble((f"{finding.status:4}", _COLOURS[finding.status]), "  ")
            line.append(f"{finding.subject:{_SUBJECT_WIDTH}}  {finding.text}")
            console.print(line, soft_wrap=True)
            if finding.remedy:
                console.print(Text(f"{'':{_SUBJECT_WIDTH + 6}}  -> {finding.remedy}"), soft_wrap=True)
    failed = any(finding.status == "fail" for finding in findings)
    if as_json:
        say_json({"ok": not failed, "findings": findings})
    raise SystemExit(1 if failed else 0)
