"""Text vectors are computed once, come back by article, and are never those of another text or encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from freshet.models.datasets.impression_log import ArticleTable
from freshet.models.embedding.bundle import EncoderSpec
from freshet.models.ports import FloatMatrix
from freshet.workers.training import text_vectors
from freshet.workers.training.text_vectors import ChosenEncoder, TextVectorsUnavailable, text_vectors_of

D = 3


class Lengths(ChosenEncoder):
    """An encoder without a model: a text's vector is its lengths."""

    def __init__(self, name: str = "lengths") -> None:
        super().__init__(name, "mean", EncoderSpec(name=name, pooling="mean", d=D))
        self.encoded: list[tuple[str, str]] = []

    def encode(self, texts: Sequence[tuple[str, str]]) -> FloatMatrix:
        self.encoded += texts
        return np.array([[len(title), len(abstract), 1.0] for title, abstract in texts], np.float32)


def table(*texts: tuple[str, str]) -> ArticleTable:
    n = len(texts)
    titles, abstracts = [text[0] for text in texts], [text[1] for text in texts]
    ids = tuple(f"N{i}" for i in range(n))
    return ArticleTable(ids, np.ones(n, np.bool_), titles, abstracts, [""] * n, [""] * n, [""] * n)


def test_rows_are_those_of_the_articles_and_zero_without_text(tmp_path: Path) -> None:
    articles = table(("ab", "c"), ("", " "), ("abcd", ""), ("ab", "c"))
    encoder = Lengths()
    vectors = text_vectors_of(articles, encoder, cache_dir=tmp_path)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[2, 1, 1], [0, 0, 0], [4, 0, 1], [2, 1, 1]]
    assert encoder.encoded == [("ab", "c"), ("abcd", "")]


def test_a_second_time_nothing_is_encoded(tmp_path: Path) -> None:
    articles = table(("ab", "c"), ("abcd", ""))
    first = text_vectors_of(articles, Lengths(), cache_dir=tmp_path)
    again = Lengths()
    assert text_vectors_of(articles, again, cache_dir=tmp_path).tolist() == first.tolist()
    assert again.encoded == []


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_vectors, "PART_TEXTS", 2)
    articles = table(*((f"title {i}", "") for i in range(5)))

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        text_vectors_of(articles, Lengths(), cache_dir=tmp_path, progress=stop)
    encoder = Lengths()
    seen: list[tuple[int, int]] = []
    text_vectors_of(
        articles, encoder, cache_dir=tmp_path, progress=lambda done, total: seen.append((done, total))
    )
    assert encoder.encoded == [("title 4", "")]
    assert seen == [(0, 5), (2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize("changed", [table(("ab", "d")), table(("abc", ""))])
def test_another_text_is_encoded_anew(tmp_path: Path, changed: ArticleTable) -> None:
    text_vectors_of(table(("ab", "c")), Lengths(), cache_dir=tmp_path)
    encoder = Lengths()
    text_vectors_of(changed, encoder, cache_dir=tmp_path)
    assert len(encoder.encoded) == 1


def test_another_encoder_encodes_anew(tmp_path: Path) -> None:
    text_vectors_of(table(("ab", "c")), Lengths(), cache_dir=tmp_path)
    other = Lengths("other")
    text_vectors_of(table(("ab", "c")), other, cache_dir=tmp_path)
    assert len(other.encoded) == 1


@pytest.mark.parametrize("damage", [b"", b"no array", None])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: bytes | None) -> None:
    articles = table(("ab", "c"))
    expected = text_vectors_of(articles, Lengths(), cache_dir=tmp_path).tolist()
    (path,) = tmp_path.glob("*.npy")
    path.write_bytes(path.read_bytes()[:-4] if damage is None else damage)
    assert text_vectors_of(articles, Lengths(), cache_dir=tmp_path).tolist() == expected
    assert text_vectors_of(articles, Lengths(), cache_dir=tmp_path).tolist() == expected


def test_the_cache_is_bounded_but_keeps_what_was_just_used(tmp_path: Path) -> None:
    for i in range(4):
        text_vectors_of(table((f"title {i}", "")), Lengths(), cache_dir=tmp_path, max_cache_bytes=1)
        assert len(list(tmp_path.glob("*"))) == 1
    encoder = Lengths()
    text_vectors_of(table(("title 3", "")), encoder, cache_dir=tmp_path)
    assert encoder.encoded == []


def test_a_cache_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(TextVectorsUnavailable, match=r"file.*--data-dir"):
        text_vectors_of(table(("ab", "c")), Lengths(), cache_dir=blocked)


def test_an_encoder_that_is_not_the_one_expected_is_refused() -> None:
    spec = EncoderSpec(name="minilm", pooling="mean", d=7)
    with pytest.raises(TextVectorsUnavailable, match="the bundle was trained with"):
        ChosenEncoder("minilm", "mean", spec).encode([("title", "")])


def test_the_encoder_of_the_settings_says_what_it_is() -> None:
    spec = ChosenEncoder("minilm", "cls").spec
    assert (spec.name, spec.pooling, spec.d, spec.tuned) == ("minilm", "cls", 384, False)
