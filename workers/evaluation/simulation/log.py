"""Writes the lists of simulated policies as folders that ``freshet evaluate --off-policy`` reads.

Each policy has a MIND folder (``news.tsv``, ``published.tsv``, ``behaviors.tsv`` with the requests' ids as
impression ids) with ``recommendations.jsonl`` (a :class:`Recommendation` a line, with propensities and
candidates) and the ground truth: ``truth.jsonl`` (the click probability of each item of a list, and the list
without exploration with its probabilities) and ``truth.json`` (configuration and outcome of every policy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, Self

import orjson

from freshet.models.datasets.mind import BEHAVIORS_FILE, behaviors_line
from freshet.models.datasets.recommendation_log import RECOMMENDATIONS_FILE
from freshet.models.datasets.synthetic.folder import write_articles
from freshet.models.datasets.synthetic.world import World
from freshet.models.evaluation.simulation.measures import Outcome
from freshet.models.evaluation.simulation.run import LoggedList, SimulationConfig
from freshet.models.events.events import Impression, Recommendation

TRUTH_LISTS_FILE = "truth.jsonl"
TRUTH_FILE = "truth.json"
BUNDLE = "simulation"


class SimulationLog:
    """Writes the folders of several policies; use it in ``with``.

    Args:
        folder: Parent of the policies' folders.
        policies: Names of the policies.

    Raises:
        FileExistsError: A policy's folder exists and is not empty.
        OSError: A file cannot be written.
    """

    def __init__(self, folder: Path, policies: Sequence[str]) -> None:
        self._folders = {policy: folder / policy for policy in policies}
        for policy in self._folders.values():
            if policy.is_dir() and any(policy.iterdir()):
                raise FileExistsError(f"{policy}: the folder is not empty")
            policy.mkdir(parents=True, exist_ok=True)
        self._files = ExitStack()
        self._open: dict[str, list[BinaryIO]] = {}

    def __enter__(self) -> Self:
        for policy, folder in self._folders.items():
            self._open[policy] = [
                self._files.enter_context((folder / name).open("wb"))
                for name in (BEHAVIORS_FILE, RECOMMENDATIONS_FILE, TRUTH_LISTS_FILE)
            ]
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add_list(self, entry: LoggedList) -> None:
        """Write a list."""
        behaviors, recommendations, truth = self._open[entry.policy]
        shown, request = entry.shown, entry.shown.request
        ids = [item.news_id for item in shown.items]
        impression = Impression(
            impression_id=request.request_id,
            user_id=request.user_id,
            time=request.time,
            candidates=tuple(ids),
            clicked=tuple(news_id for news_id, click in zip(ids, entry.clicked, strict=True) if click),
            history=entry.history,
        )
        behaviors.write(behaviors_line(impression).encode())
        answer = Recommendation(
            request_id=request.request_id,
            user_id=request.user_id,
            time=request.time,
            bundle=BUNDLE,
            ranker=shown.ranker,
            items=tuple(shown.items),
            user_clicks=shown.user_clicks,
            candidates=shown.candidates,
        )
        recommendations.write(answer.to_json() + b"\n")
        line = {
            "request_id": request.request_id,
            "measured": entry.measured,
            "chances": entry.chances,
            "greedy": entry.greedy,
            "greedy_chances": entry.greedy_chances,
        }
        truth.write(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")

    def finish(self, world: World, config: SimulationConfig, outcomes: Mapping[str, Outcome]) -> None:
        """Write the articles and the outcomes."""
        for policy, folder in self._folders.items():
            write_articles(folder, world)
            document = {
                "version": 1,
                "policy": policy,
                "config": asdict(config),
                "outcomes": {name: asdict(outcome) for name, outcome in outcomes.items()},
            }
            (folder / TRUTH_FILE).write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
