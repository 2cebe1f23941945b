"""Writes the dashboards and the page on them; with ``--check`` says what is not as the code has it."""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.dashboards.drift import DRIFT
from deploy.dashboards.embedding import EMBEDDING
from deploy.dashboards.experiments import EXPERIMENTS
from deploy.dashboards.freshness import FRESHNESS
from deploy.dashboards.grafana import to_json, uid
from deploy.dashboards.overview import OVERVIEW
from deploy.dashboards.page import page
from deploy.dashboards.recommendation_quality import QUALITY
from deploy.dashboards.stream_health import STREAM

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
PAGE = ROOT / "docs" / "reference" / "dashboards.md"
DASHBOARDS = (OVERVIEW, STREAM, QUALITY, FRESHNESS, EMBEDDING, DRIFT, EXPERIMENTS)


def main(arguments: list[str]) -> int:
    """Write, or check; gives the exit status."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m deploy.dashboards [--check]", file=sys.stderr)
        return 2
    wanted = {FOLDER / f"{uid(board.name)}.json": to_json(board) for board in DASHBOARDS}
    left_over = sorted(set(FOLDER.glob("*.json")) - wanted.keys())
    wanted[PAGE] = page(DASHBOARDS)
    if arguments:
        stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
        for path in (*stale, *left_over):
            print(f"{path.relative_to(ROOT)} is not what deploy/dashboards says", file=sys.stderr)
        if stale or left_over:
            print("run: python -m deploy.dashboards", file=sys.stderr)
        return int(bool(stale or left_over))
    for path in left_over:
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
