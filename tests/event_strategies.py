"""Events of every kind, for Hypothesis to try."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from freshet.models.events.events import (
    MAX_K,
    Article,
    ArticleStats,
    ArticleVector,
    Click,
    Control,
    DeadLetter,
    DecayedCount,
    Event,
    Filters,
    Impression,
    InterestHead,
    RankerExample,
    RankerWeights,
    Recommendation,
    RecommendationRequest,
    RecommendedArticle,
    SlateBatch,
    SlateEvent,
    UserVector,
)

bundles = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters="/"),
    min_size=1,
    max_size=20,
)
ids = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=20)
texts = st.text(max_size=40)
numbers = st.floats(allow_nan=False, allow_infinity=False)
amounts = st.floats(0, 1e12)
counts = st.integers(0, (1 << 63) - 1)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30), timezones=zones)


def tuples(element: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(element, min_size=least, max_size=4).map(tuple)


vectors = tuples(numbers, 1)
about = {"title": texts, "category": texts, "subcategory": texts}
shown = st.shared(tuples(ids, 1), key="shown")
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Article, news_id=ids, published_at=times, abstract=texts, url=texts, entities=tuples(ids), **about
    ),
    st.builds(ArticleVector, news_id=ids, bundle=bundles, vector=vectors, published_at=times, **about),
    st.builds(
        ArticleStats,
        news_id=ids,
        time=times,
        first_seen=times,
        counts=tuples(
            st.builds(
                DecayedCount,
                half_life_s=st.none() | st.floats(1e-3, 1e9),
                clicks=amounts,
                impressions=amounts,
            ),
            1,
        ),
    ),
    st.builds(
        Impression,
        impression_id=ids,
        user_id=ids,
        time=times,
        candidates=shown,
        clicked=shown.map(lambda candidates: candidates[:1]),
        history=tuples(ids),
        request_id=st.none() | ids,
    ),
    st.builds(
        Click,
        user_id=ids,
        news_id=ids,
        time=times,
        impression_id=st.none() | ids,
        request_id=st.none() | ids,
    ),
    st.builds(
        UserVector,
        user_id=ids,
        time=times,
        bundle=ids,
        clicks=counts,
        heads=tuples(
            st.builds(
                InterestHead, name=texts, half_life_s=st.floats(1e-3, 1e9), weight=amounts, vector=vectors
            ),
            1,
        ),
    ),
    st.builds(
        RecommendationRequest,
        request_id=ids,
        user_id=ids,
        time=times,
        k=st.integers(1, MAX_K),
        candidates=st.none() | tuples(ids, 1),
        history=tuples(ids),
        filters=st.builds(Filters, categories=tuples(texts), max_age_s=st.none() | st.floats(1, 1e9)),
        exclude_seen=st.booleans(),
        diversity=st.floats(0, 1),
        explain=st.booleans(),
    ),
    st.builds(
        Recommendation,
        request_id=ids,
        user_id=ids,
        time=times,
        bundle=ids,
        ranker=ids,
        items=tuples(
            st.builds(
                RecommendedArticle,
                news_id=ids,
                score=numbers,
                title=texts,
                published_at=st.none() | times,
                sources=tuples(texts),
                reasons=st.dictionaries(texts, numbers, max_size=3),
            )
        ),
        user_clicks=counts,
        degraded=st.sampled_from([None, "cached", "trending"]),
        pushed=st.booleans(),
    ),
    st.builds(Control, kind=st.sampled_from(["push-on", "user-erased"]), subject=ids, time=times),
    st.builds(
        RankerWeights,
        model=ids,
        revision=counts,
        time=times,
        weights=st.dictionaries(texts, numbers, max_size=3),
    ),
    st.builds(
        RankerExample,
        model=ids,
        fingerprint=ids.map(lambda name: name[:64]),
        features=texts,
        clicked=st.just((True, False)),
        clicked_before=st.sampled_from([None, (False, False)]),
        source=texts,
        partition=counts,
        offset=counts,
        time=times,
    ),
    st.builds(
        SlateBatch,
        source=texts,
        partition=counts,
        events=tuples(
            st.builds(SlateEvent, offset=counts, time_s=numbers, shown=tuples(ids), clicked=tuples(ids)), 1
        ),
    ),
    st.builds(
        DeadLetter, source=texts, reason=texts, time=times, key=st.none() | texts, value=st.none() | texts
    ),
)
