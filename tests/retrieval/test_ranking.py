"""Figures of rankings against loops that follow the definitions."""

import fractions
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfclust.retrieval import ranking

TOLERANCE = 1e-9


def oracle_ap(ranked, positives, junk):
    """As the source of Oxford's evaluation goes through a ranking."""
    old_recall, old_precision, area = 0, 1, fractions.Fraction(0)
    found = seen = 0
    for image in ranked:
        if image in junk:
            continue
        found += image in positives
        seen += 1
        recall = fractions.Fraction(found, len(positives - junk))
        precision = fractions.Fraction(found, seen)
        area += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
    return float(area)


@st.composite
def rankings(draw):
    count = draw(st.integers(1, 40))
    ranked = draw(st.permutations(range(count)))
    some = st.sets(st.integers(0, count - 1))
    positives, junk = draw(some), draw(some)
    missing = draw(st.integers(0, 3))  # positives that are not searched
    positives |= set(range(1000, 1000 + missing))
    return np.array(ranked), positives, junk


@settings(max_examples=100, deadline=None)
@given(rankings())
def test_instance_ap_equals_the_loop_to_1e_9_with_junk(case):
    ranked, positives, junk = case
    if not positives - junk:
        return
    figures = ranking.instance_figures(ranked, positives, junk)
    expected = oracle_ap(ranked.tolist(), positives, junk)
    assert figures.ap == pytest.approx(expected, abs=TOLERANCE)


def test_instance_ap_of_a_small_case_by_hand():
    # Junk 9 leaves a, x, b: precision 1 at rank 0; (1/2 + 2/3) / 2 for b.
    ranked = np.array([0, 9, 5, 1])
    figures = ranking.instance_figures(ranked, {0, 1}, {9})
    assert figures.ap == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    # Both within the first three; and the last of them ends the count.
    assert figures.precisions == pytest.approx((1, 2 / 3, 2 / 3))


def test_a_perfect_ranking_has_ap_1_and_a_missed_one_0():
    assert ranking.instance_figures(np.arange(9), {0, 1, 2}, {8}).ap == 1
    assert ranking.instance_figures(np.arange(9), {99}, set()).ap == 0


def oracle_classes(gallery, labels, queries, query_labels, own):
    """mAP, mAP@R and R@1, 5, 10 by a loop over queries and ranks."""
    sums, counted = np.zeros(5), 0
    for q, label in enumerate(query_labels):
        others = [i for i in range(len(gallery)) if not (own and i == q)]
        total = sum(labels[i] == label for i in others)
        if label < 0 or not total:
            continue
        scores = {i: float(queries[q] @ gallery[i]) for i in others}
        others.sort(key=lambda i: (-scores[i], i))
        hits = [labels[i] == label for i in others]
        precisions = [
            sum(hits[: r + 1]) / (r + 1) for r in range(len(hits)) if hits[r]
        ]
        within = [sum(hits[: r + 1]) / (r + 1) for r in range(total) if hits[r]]
        counted += 1
        sums += [
            sum(precisions) / total,
            sum(within) / total,
            *(any(hits[:k]) for k in (1, 5, 10)),
        ]
    return 100 * sums / counted, counted


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("own", [True, False])
def test_class_figures_equal_the_loop(own):
    random = np.random.default_rng(3)
    labels = random.integers(-1, 6, 300)
    labels[7] = 77  # a class of one
    gallery = unit(random.normal(size=(300, 8)) + 0.3 * labels[:, None])
    gallery = gallery.astype(np.float32)
    query_labels = random.integers(0, 7, 40)
    queries = unit(random.normal(size=(40, 8))).astype(np.float32)
    if own:
        found = ranking.class_figures(gallery, labels)
        queries, query_labels = gallery, labels
    else:
        found = ranking.class_figures(gallery, labels, queries, query_labels)
    names = ("mAP", "mAP@R", "R@1", "R@5", "R@10")
    expected, counted = oracle_classes(
        gallery, labels, queries, query_labels, own
    )
    np.testing.assert_allclose([found[n] for n in names], expected, rtol=1e-9)
    assert found["queries"] == counted
    assert found["alone"] == (query_labels >= 0).sum() - counted


def test_map_of_classes_equals_scikit_learn():
    from sklearn.metrics import average_precision_score

    random = np.random.default_rng(4)
    labels = random.integers(0, 3, 50)
    gallery = unit(random.normal(size=(50, 6)))
    queries, asked = unit(random.normal(size=(9, 6))), np.arange(9) % 3
    expected = [
        average_precision_score(labels == label, gallery @ query)
        for query, label in zip(queries, asked, strict=True)
    ]
    found = ranking.class_figures(gallery, labels, queries, asked)
    assert found["mAP"] == pytest.approx(100 * np.mean(expected))


def test_chance_of_classes_is_the_mean_over_all_rankings():
    # Two of a class, three of another: each query ranks four others.
    labels = np.array([0, 0, 1, 1, 1])
    sums = []
    for query in range(5):
        others = np.delete(np.arange(5), query)
        of_query = []
        for order in itertools.permutations(others):
            hits = labels[list(order)] == labels[query]
            precisions = hits.cumsum() / np.arange(1, 5) * hits
            count = hits.sum()
            of_query.append(
                [
                    precisions.sum() / count,
                    precisions[:count].sum() / count,
                    *(hits[:k].any() for k in (1, 5, 10)),
                ]
            )
        sums.append(np.mean(of_query, axis=0))
    expected = 100 * np.mean(sums, axis=0)
    found = ranking.chance_figures(labels)
    assert list(found) == ["mAP", "mAP@R", "R@1", "R@5", "R@10"]
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-9)
