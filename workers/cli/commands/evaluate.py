"""``freshet evaluate``: measure how well a folder's impressions are ranked, without a broker."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freshet.models.events.times import parse_time
from freshet.workers.cli.options import (
    ANY_FILE,
    EXISTING_FILE,
    data_argument,
    failing_on,
    json_option,
    skip_bad_lines_option,
)
from freshet.workers.terminal.number_options import SEED, FiniteRange
from freshet.workers.terminal.results import show_result

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
@data_argument
@click.option(
    "--bundle", metavar="B", type=click.Path(path_type=Path), help="Folder of the bundle; without, ids only."
)
@click.option(
    "--protocol",
    type=click.Choice(["prequential", "frozen"]),
    default="prequential",
    show_default=True,
    help="Prequential: learn from each impression after ranking it; frozen: learn nothing after the cutoff.",
)
@click.option(
    "--from",
    "start",
    type=_Begin(),
    metavar="SHARE|TIME",
    help="Begin of evaluation. [default: the end of the bundle's training period; else 0.2, frozen 0.8]",
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
    help="Prequential: event time from an impression to learning from it. [default: 0]",
)
@click.option(
    "--ablation",
    is_flag=True,
    help="Prequential: also evaluate rankers without, or with only, one group of features.",
)
@click.option(
    "--trees",
    is_flag=True,
    help="Prequential: also evaluate a ranker with boosted trees; needs the extra `train`.",
)
@click.option(
    "--off-policy",
    is_flag=True,
    help="Estimate a ranker's clicks from a log with propensities, as `freshet log` writes it.",
)
@click.option(
    "--weights",
    metavar="FILE.json",
    type=EXISTING_FILE,
    help="With --off-policy: weights of the ranker by feature. [default: the bundle's, or the default ones]",
)
@click.option(
    "--temperature",
    metavar="T",
    type=FiniteRange(0, min_open=True),
    help="With --off-policy: sample lists from scores / T. [default: rank by decreasing score]",
)
@click.option(
    "--top",
    metavar="K",
    type=click.IntRange(2),
    help="With --off-policy: also count the clicks among the first K. [default: 3]",
)
@skip_bad_lines_option
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of resampling and sampling.")
@click.option("--encoder", metavar="NAME", help="Text encoder, instead of the one that the bundle names.")
@click.option("--data-dir", metavar="DIR", help="Folder of cached text vectors. [default: .freshet]")
@click.option("--report", metavar="FILE.html", type=ANY_FILE, help="Write an HTML report.")
@json_option
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
    """Measure how well the impressions of DIR, a MIND folder, are ranked, by ids alone or with a bundle.

    A bundle is evaluated on impressions later than those it was trained on, beside baselines, with confidence
    intervals and by segments; on folders of `freshet synth`, beside the oracle. Bundles trained on MovieLens
    or headline tests are evaluated on such folders. With --off-policy, DIR is a log of recommendations; the
    estimate is the clicks that a ranker's lists would have got in place of those shown.
    """
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
        raise click.UsageError("--ablation and --trees need rankers that learn: not --learner none")
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
    if off_policy:
        judged = OffPolicyOptions(folder, bundle, weights, temperature, top or 3, start, skip_bad_lines, seed)
        _evaluate_off_policy(judged, settings, as_json)
    elif (kind := kind_of(folder)) == "mind":
        _evaluate_mind(options, settings, report, as_json)
    elif learning:
        raise click.UsageError("--learner, --feedback-delay, --ablation and --trees are for impressions")
    else:
        _evaluate_other(kind, options, settings, report, as_json)


def _evaluate_mind(options: EvaluateOptions, settings: Settings, report: Path | None, as_json: bool) -> None:
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
    show_result(found.as_json(), lambda: render(found), as_json=as_json)


def _evaluate_off_policy(options: OffPolicyOptions, settings: Settings, as_json: bool) -> None:
    from freshet.workers.evaluation.off_policy.estimate import evaluate_off_policy
    from freshet.workers.evaluation.off_policy.text import render
    from freshet.workers.terminal.stage_progress import StageProgress

    with StageProgress() as progress:
        found = evaluate_off_policy(options, settings, progress)
    show_result(found.as_json(), lambda: render(found), as_json=as_json)


def _evaluate_other(
    kind: DataKind, options: EvaluateOptions, settings: Settings, report: Path | None, as_json: bool
) -> None:
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
    with failing_on(BundleError):
        bundle = load_bundle(options.bundle)
    with StageProgress() as progress:
        found = evaluator(options.folder, bundle, settings, progress)
    show_result(found.described, lambda: found.table, as_json=as_json)
