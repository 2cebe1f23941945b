"""``freshet evaluate``: how well a folder's impressions are ranked, without a broker."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freshet.models.events.times import parse_time
from freshet.workers.terminal.number_options import SEED, FiniteRange
from freshet.workers.terminal.printable import say
from freshet.workers.terminal.terminal import Terminal

if TYPE_CHECKING:
    from freshet.streams.settings import Settings
    from freshet.workers.evaluation.mind import EvaluateOptions
    from freshet.workers.evaluation.off_policy.estimate import OffPolicyOptions
    from freshet.workers.evaluation.protocols import Learning
    from freshet.workers.evaluation.report import ProtocolName
    from freshet.workers.training.models import DataKind


class _Begin(click.ParamType):
    name = "share|time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value)
        try:
            share = float(text)
        except ValueError:
            try:
                return parse_time(text, default_zone=UTC).timestamp()
            except ValueError as error:
                self.fail(f"{text!r} must be a share like 0.8, or {error}", param, ctx)
        if not 0.0 <= share < 1.0:
            self.fail(f"{text} is no share of the impressions: from 0 to below 1", param, ctx)
        return share


@click.command(name="evaluate")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--bundle", metavar="B", type=click.Path(path_type=Path), help="The bundle's folder; without it, by ids."
)
@click.option(
    "--protocol",
    type=click.Choice(["prequential", "frozen"]),
    default="prequential",
    show_default=True,
    help="Learn from each impression after it was ranked, or nothing of the evaluation period.",
)
@click.option(
    "--from",
    "start",
    type=_Begin(),
    metavar="SHARE|TIME",
    help="Where measuring begins. [default: after the bundle's training period; else 0.2, frozen 0.8]",
)
@click.option(
    "--learner",
    type=click.Choice(["newton", "adagrad", "none"]),
    help="Prequential: how the ranker learns its weights. [default: newton; FRESHET_LEARN=false: none]",
)
@click.option(
    "--feedback-delay",
    "feedback_delay_s",
    metavar="SECONDS",
    type=FiniteRange(0),
    help="Prequential: event time from an impression to what it teaches. [default: 0]",
)
@click.option(
    "--ablation",
    is_flag=True,
    help="Prequential: rankers beside that lack a group of features, or the others.",
)
@click.option(
    "--trees",
    is_flag=True,
    help="Prequential: a ranker beside that boosted trees help; needs the extra `train`.",
)
@click.option(
    "--off-policy",
    is_flag=True,
    help="Estimate a ranker's clicks from a log with propensities, such as `freshet log` makes.",
)
@click.option(
    "--weights",
    metavar="FILE.json",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --off-policy: the ranker's weights by feature. [default: the bundle's, or the default ones]",
)
@click.option(
    "--temperature",
    metavar="T",
    type=FiniteRange(0, min_open=True),
    help="With --off-policy: the ranker draws its lists from its scores / T. [default: by falling score]",
)
@click.option(
    "--top",
    metavar="K",
    type=click.IntRange(2),
    help="With --off-policy: count the clicks among the first K too. [default: 3]",
)
@click.option("--skip-bad-lines", is_flag=True, help="Go on at a line that cannot be read.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of resampling and samples.")
@click.option("--encoder", metavar="NAME", help="Where the bundle's text encoder is, if not where it says.")
@click.option("--data-dir", metavar="DIR", help="Where text vectors are kept. [default: .freshet]")
@click.option(
    "--report", metavar="FILE.html", type=click.Path(dir_okay=False, path_type=Path), help="Write a report."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    folder: Path,
    bundle: Path | None,
    protocol: ProtocolName,
    start: float | None,
    learner: Learning | None,
    feedback_delay_s: float | None,
    ablation: bool,
    trees: bool,
    off_policy: bool,
    weights: Path | None,
    temperature: float | None,
    top: int | None,
    skip_bad_lines: bool,
    seed: int,
    encoder: str | None,
    data_dir: str | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Measure how well the impressions of DIR are ranked: a MIND folder, by ids alone or with a bundle.

    A bundle is measured on impressions later than those it was trained on, beside baselines, with intervals
    and by segments; on folders of `freshet synth` beside the oracle. Bundles trained on MovieLens or headline
    tests are measured on such folders. With --off-policy DIR is a log of recommendations, and what is
    measured is how many clicks the lists of a ranker would have got in place of those that were shown.
    """
    from freshet.workers.errors import WorkerError
    from freshet.workers.evaluation.mind import EvaluateOptions
    from freshet.workers.evaluation.off_policy.estimate import OffPolicyOptions
    from freshet.workers.terminal.connection_options import build_settings
    from freshet.workers.training.train import kind_of

    settings = build_settings({"encoder": encoder, "data_dir": data_dir})
    if off_policy and report is not None:
        raise click.UsageError("--report is not for --off-policy")
    if not off_policy and (weights is not None or temperature is not None or top is not None):
        raise click.UsageError("--weights, --temperature and --top go with --off-policy")
    learning = bool(learner) or feedback_delay_s is not None or ablation or trees
    if learning and (off_policy or protocol == "frozen"):
        raise click.UsageError(
            "--learner, --feedback-delay, --ablation and --trees go with --protocol prequential"
        )
    if (ablation or trees) and learner == "none":
        raise click.UsageError("--ablation and --trees compare rankers that learn: not with --learner none")
    options = EvaluateOptions(
        folder,
        bundle,
        protocol,
        start,
        skip_bad_lines,
        seed,
        learner or ("newton" if ablation or trees else None),
        feedback_delay_s or 0.0,
        ablation,
        trees,
    )
    judged = OffPolicyOptions(folder, bundle, weights, temperature, top or 3, start, skip_bad_lines, seed)
    try:
        if off_policy:
            _evaluate_off_policy(judged, settings, as_json)
            return
        kind = kind_of(folder)
        if kind == "mind":
            _evaluate_mind(options, settings, report, as_json)
        elif learning:
            raise click.UsageError("--learner, --feedback-delay, --ablation and --trees are for impressions")
        else:
            _evaluate_other(kind, options, settings, report, as_json)
    except WorkerError as error:
        raise click.ClickException(str(error)) from error


def _evaluate_mind(options: EvaluateOptions, settings: Settings, report: Path | None, as_json: bool) -> None:
    import orjson

    from freshet.workers.evaluation.html_report import check_report, write_report
    from freshet.workers.evaluation.mind import evaluate
    from freshet.workers.evaluation.text import render
    from freshet.workers.terminal.stage_progress import StageProgress

    if report is not None:
        check_report(report)
    with StageProgress() as progress:
        found = evaluate(options, settings, progress)
        if report is not None:
            with progress.stage("report"):
                written = write_report(found, report)
            progress.note(f"{report}: {written / 1e3:,.0f} kB")
    if as_json:
        say(orjson.dumps(found.as_json(), option=orjson.OPT_SERIALIZE_NUMPY).decode())
    else:
        Terminal().print(render(found))


def _evaluate_off_policy(options: OffPolicyOptions, settings: Settings, as_json: bool) -> None:
    import orjson

    from freshet.workers.evaluation.off_policy.estimate import evaluate_off_policy
    from freshet.workers.evaluation.off_policy.text import render
    from freshet.workers.terminal.stage_progress import StageProgress

    with StageProgress() as progress:
        found = evaluate_off_policy(options, settings, progress)
    if as_json:
        say(orjson.dumps(found.as_json()).decode())
    else:
        Terminal().print(render(found))


def _evaluate_other(
    kind: DataKind, options: EvaluateOptions, settings: Settings, report: Path | None, as_json: bool
) -> None:
    import orjson

    from freshet.models.embedding.bundle import BundleError, load_bundle
    from freshet.workers.evaluation.folders import EVALUATORS
    from freshet.workers.terminal.stage_progress import StageProgress

    if options.bundle is None:
        raise click.UsageError(
            f"{options.folder}: without impressions, only a bundle can be measured: --bundle"
        )
    if report is not None:
        raise click.UsageError("--report is for folders of impressions")
    evaluator = EVALUATORS.get(kind)
    if evaluator is None:
        raise click.ClickException(f"{options.folder}: folders of {kind} cannot be evaluated")
    try:
        bundle = load_bundle(options.bundle)
    except BundleError as error:
        raise click.ClickException(str(error)) from error
    with StageProgress() as progress:
        found = evaluator(options.folder, bundle, settings, progress)
    if as_json:
        say(orjson.dumps(found.described).decode())
    else:
        Terminal().print(found.table)
