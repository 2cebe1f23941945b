"""``freshet console``: be a user of the stream, in the browser."""

from __future__ import annotations

from urllib.parse import urlsplit

import click

from freshet.streams.settings import Settings
from freshet.workers.cli.options import verbose_option
from freshet.workers.terminal.connection_options import settings_options
from freshet.workers.terminal.results import say_json
from freshet.workers.terminal.terminal import Terminal, bullet

_HTTP = ("http", "https")


class _Url(click.ParamType):
    name = "url"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            parts = urlsplit(str(value))
            known = parts.scheme in _HTTP and bool(parts.hostname) and parts.port != 0
        except ValueError:
            known = False
        if not known:
            self.fail(f"{value!r} is not an address like http://127.0.0.1:9464/metrics", param, ctx)
        return str(value)


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Whoever can connect to it can act as any user.",
)
@click.option(
    "--port", default=0, type=click.IntRange(0, 65_535), help="Port to listen on. [default: a free one]"
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another host name by which browsers may address the page; repeatable.",
)
@click.option(
    "--metrics",
    "metrics_urls",
    multiple=True,
    type=_Url(),
    metavar="URL",
    help="Metrics page of a worker; repeatable. [default: http://METRICS_HOST:METRICS_PORT/metrics]",
)
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
@click.option("--json", "as_json", is_flag=True, help="Print the page's address as one JSON object.")
@verbose_option
@settings_options("metrics_host", "metrics_port")
def command(
    *,
    settings: Settings,
    host: str,
    port: int,
    allowed_hosts: tuple[str, ...],
    metrics_urls: tuple[str, ...],
    open_browser: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Serve a web page on which you are a user: read a front page, click, and see it change.

    The page also shows trending and newest articles, and the stream's rates and latencies. Ctrl-C stops it.
    """
    import webbrowser

    from freshet.workers.console.run import ConsoleOptions, run_console
    from freshet.workers.processes.logs import set_up_logs

    set_up_logs(verbose)
    if not metrics_urls and settings.metrics_port:
        metrics_urls = (f"http://{settings.metrics_host}:{settings.metrics_port}/metrics",)

    def ready(url: str) -> None:
        if as_json:
            say_json({"url": url})
        else:
            console = Terminal(soft_wrap=True, highlight=False)
            console.print(bullet(f"the console is at {url} ; Ctrl-C stops it"))
        if open_browser:
            webbrowser.open(url)

    options = ConsoleOptions(host, port, allowed_hosts, metrics_urls)
    run_console(settings, options, ready)
