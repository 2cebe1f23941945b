"""Where the repository lies, for the tests that read files of it."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
