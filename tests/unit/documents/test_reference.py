"""The pages of reference say what the code says."""

from __future__ import annotations

import pytest

from freshet.models.events.events import Event
from freshet.streams.kafka.topics import TOPICS
from freshet.streams.settings import Settings
from tests.documents.configuration_page import configuration_page
from tests.documents.events_page import events_page, example
from tests.documents.markdown_text import prose, table
from tests.documents.reference import FOLDER, PAGES, page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == page(name), f"docs/reference/{name} is out of date: run `make reference`"


def test_every_topic_and_event_is_on_the_page() -> None:
    text = events_page()
    for topic in TOPICS:
        assert f"| `{topic.name}` | [{topic.event.__name__}]" in text
        assert f"\n## {topic.event.__name__}\n" in text


@pytest.mark.parametrize("event", Event.__subclasses__(), ids=lambda event: event.__name__)
def test_an_example_decodes(event: type[Event]) -> None:
    event.from_json(example(event).encode())


def test_a_setting_without_words_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings.model_fields["encoder"], "description", None)
    with pytest.raises(ValueError, match=r"Settings\.encoder needs a docstring"):
        configuration_page()


def test_docstrings_become_markdown_and_cells_cannot_break_a_table() -> None:
    assert prose("See :class:`~a.B` and ``x``.") == "See `a.B` and `x`."
    assert table(["a"], [["x|y"]])[-1] == r"| x\|y |"
