"""Weighted kNN against plain NumPy loops and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from tfclust.evaluation import (
    EvaluationConfig,
    evaluate_knn,
    evaluate_knns,
    online_knn,
)
from tfclust.evaluation.protocols import knn


def knn_loop(bank, bank_labels, queries, k, temperature):
    """Predictions by loops, in float64."""
    bank = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    predictions = []
    for query in queries:
        cosines = bank @ (query / np.linalg.norm(query))
        votes = dict.fromkeys(sorted(set(bank_labels.tolist())), 0.0)
        for row in np.argsort(-cosines, kind="stable")[:k]:
            votes[bank_labels[row]] += np.exp(cosines[row] / temperature)
        predictions.append(max(votes, key=votes.get))
    return np.array(predictions)


def blobs(num_rows, *, width=8, num_classes=4, seed=0):
    """Rows around one random centre a class, and their labels."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=[num_classes, width])
    labels = random.integers(num_classes, size=num_rows)
    rows = centres[labels] + random.normal(size=[num_rows, width])
    return rows.astype(np.float32), labels


# derandomize: a query whose k-th and next neighbour agree to float32's last
# digit, one in some ten thousand, may go either way.
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    num_rows=st.integers(5, 90),
    num_neighbors=st.integers(1, 20),
    temperature=st.sampled_from([0.02, 0.07, 0.1, 1.0]),
    block_rows=st.sampled_from([7, 64, 1000]),
    use_faiss=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_predictions_match_a_numpy_loop(
    num_rows, num_neighbors, temperature, block_rows, use_faiss, seed
):
    bank, bank_labels = blobs(num_rows, seed=seed)
    queries, labels = blobs(30, seed=seed + 1)
    num_neighbors = min(num_neighbors, num_rows)

    result = evaluate_knn(
        bank,
        bank_labels,
        queries,
        labels,
        num_neighbors=num_neighbors,
        temperature=temperature,
        block_rows=block_rows,
        use_faiss=use_faiss,
    )

    expected = knn_loop(
        np.float64(bank), bank_labels, queries, num_neighbors, temperature
    )
    np.testing.assert_array_equal(result.predictions, expected)
    assert result.top1 == np.mean(expected == labels)


@pytest.mark.parametrize(("temperature", "winner"), [(0.07, 5), (0.1, 9)])
def test_votes_are_weighted_by_exp_of_cosine_over_temperature(
    temperature, winner
):
    # Cosines 1 for class 5, 0.94 twice for class 9. Two votes of
    # exp(-0.06 / 0.07) = 0.42 lose against 1, of exp(-0.06 / 0.1) = 0.55 win.
    aside = np.sqrt(1 - 0.94**2)
    bank = np.float32([[1, 0], [0.94, aside], [0.94, -aside], [-1, 0]])

    result = evaluate_knn(
        bank,
        np.array([5, 9, 9, 5]),
        np.float32([[2, 0]]),
        np.array([5]),
        num_neighbors=3,
        temperature=temperature,
    )

    assert result.predictions.tolist() == [winner]


def test_tiny_temperature_is_the_nearest_neighbor_and_does_not_overflow():
    bank, bank_labels = blobs(200)
    queries, labels = blobs(50, seed=1)

    sharp = evaluate_knn(bank, bank_labels, queries, labels, temperature=1e-6)
    single = evaluate_knn(bank, bank_labels, queries, labels, num_neighbors=1)

    np.testing.assert_array_equal(sharp.predictions, single.predictions)


def test_lengths_of_rows_do_not_matter():
    bank, bank_labels = blobs(100)
    queries, labels = blobs(40, seed=1)
    lengths = 2.0 ** np.random.default_rng(0).integers(-9, 9, size=[100, 1])

    plain = evaluate_knn(bank, bank_labels, queries, labels)
    scaled = evaluate_knn(
        bank * np.float32(lengths), bank_labels, queries / 64, labels
    )

    np.testing.assert_array_equal(plain.predictions, scaled.predictions)


def test_class_that_the_bank_lacks_is_never_right():
    bank, bank_labels = blobs(50)
    result = evaluate_knn(bank, bank_labels, bank[:4], np.full(4, 77))
    assert result.top1 == 0.0


def test_real_digits_are_recognised_by_their_pixels():
    digits = load_digits()
    images = digits.data.astype(np.float32)
    result = evaluate_knn(
        images[:1200], digits.target[:1200], images[1200:], digits.target[1200:]
    )
    assert result.top1 > 0.93


def test_online_knn_votes_as_a_whole_where_the_bank_is_small():
    bank, bank_labels = blobs(6)
    queries, labels = blobs(20, seed=1)

    online = online_knn(bank, bank_labels, queries, labels)

    whole = evaluate_knn(bank, bank_labels, queries, labels, num_neighbors=6)
    assert online == whole.top1


def test_several_settings_are_those_of_each_alone():
    bank, bank_labels = blobs(90, num_classes=8)
    queries, labels = blobs(40, num_classes=8, seed=1)
    arguments = bank, bank_labels, queries, labels

    found = evaluate_knns(
        *arguments, num_neighbors=(20, 5, 1), temperatures=(0.07, 0.5)
    )

    assert list(found)[0] == (20, 0.07) and len(found) == 6
    for (count, temperature), result in found.items():
        alone = evaluate_knn(
            *arguments, num_neighbors=count, temperature=temperature
        )
        np.testing.assert_array_equal(result.predictions, alone.predictions)
        assert (result.top1, result.top5) == (alone.top1, alone.top5)


def test_top_five_counts_the_five_classes_with_most_votes():
    bank, bank_labels = blobs(200, num_classes=9)
    queries, labels = blobs(60, num_classes=9, seed=1)
    result = evaluate_knn(
        bank, bank_labels, queries, labels, num_neighbors=50, temperature=0.5
    )
    units = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    right = 0
    for query, label in zip(queries, labels, strict=True):
        cosines = units @ (query / np.linalg.norm(query))
        votes = np.zeros(9)
        for row in np.argsort(-cosines)[:50]:
            votes[bank_labels[row]] += np.exp(cosines[row] / 0.5)
        right += votes[label] > 0 and label in np.argsort(-votes)[:5]
    assert result.top5 == right / 60 > result.top1


def test_class_without_a_vote_is_not_among_the_five():
    bank, bank_labels = blobs(60, num_classes=6)
    result = evaluate_knn(
        bank, bank_labels, bank, (bank_labels + 1) % 6, num_neighbors=1
    )
    assert result.top5 == 0.0


def test_pca_is_scikit_learns_of_the_training_rows_alone():
    bank, bank_labels = blobs(80)
    queries, labels = blobs(30, seed=1)
    queries += 5  # a shift that a PCA of both would see
    result = evaluate_knn(bank, bank_labels, queries, labels, pca_width=3)

    pca = PCA(3, svd_solver="full").fit(bank.astype(np.float64))
    expected = knn_loop(
        pca.transform(bank), bank_labels, pca.transform(queries), 20, 0.07
    )
    np.testing.assert_array_equal(result.predictions, expected)


def test_table_names_each_setting():
    columns = knn.columns(
        {
            "top1": 0.5,
            "num_neighbors": 50,
            "pca_width": 128,
            "others": [[50, 0.5]],
            "top1_k50_t0.5": 0.25,
        }
    )
    assert [(c.title, c.figure) for c in columns] == [
        ("weighted 50-NN after PCA-128, top-1 %", "top1"),
        ("weighted 50-NN after PCA-128, T = 0.5, top-1 %", "top1_k50_t0.5"),
    ]


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"knn_temperature": ()}, "knn_temperature must name one value"),
        ({"num_neighbors": (5, 5)}, "value once. Received: num_neighbors=5,5"),
        ({"num_neighbors": 5}, r"Try \(5,\)"),
        ({"knn_temperature": (0.1, 0.0)}, "knn_temperature=0.0"),
        ({"knn_pca": 0}, "knn_pca=0"),
    ],
)
def test_impossible_knobs_are_named(knobs, words):
    with pytest.raises(ValueError, match=words):
        EvaluationConfig(**knobs)


@pytest.mark.parametrize(
    ("given", "num_images", "counts"),
    [((), 500, (20,)), ((), 7, (7,)), ((50, 5), 500, (50, 5))],
)
def test_twenty_neighbours_vote_or_all_where_these_are_fewer(
    given, num_images, counts
):
    config = EvaluationConfig(num_neighbors=given)
    assert config.neighbors(num_images) == counts


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_neighbors": 11}, "num_neighbors=11, 10 images"),
        ({"num_neighbors": 0}, "at least 1"),
        ({"pca_width": 3}, "at most 2: 10 training images.*width 2"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"test_labels": np.zeros(3, int)}, "test_labels"),
        ({"train_labels": np.zeros(10)}, "train_labels must be at least one"),
        ({"train_features": np.full([10, 2], np.nan)}, "10 of 10 rows"),
    ],
)
def test_impossible_arguments_are_named(change, words):
    arguments = {
        "train_features": np.ones([10, 2]),
        "train_labels": np.zeros(10, int),
        "test_features": np.ones([4, 2]),
        "test_labels": np.zeros(4, int),
        "num_neighbors": 3,
        **change,
    }
    with pytest.raises(ValueError, match=words):
        evaluate_knn(**arguments)
