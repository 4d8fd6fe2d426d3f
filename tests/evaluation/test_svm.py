"""SVMs a class against scikit-learn by hand, and average precision by loops."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, top_k_accuracy_score
from sklearn.svm import LinearSVC

from tests.support import detectors
from tests.support.image_files import picture
from tfclust import data, evaluation
from tfclust.evaluation import EvaluationConfig, scores, targets
from tfclust.evaluation.probes import svm

COSTS = (0.01, 0.1, 1.0, 10.0, 100.0)


def features_and_sets(count=60, seed=0):
    """Noisy features of three labels, some of them not asked."""
    random = np.random.default_rng(seed)
    sets = random.integers(0, 2, [count, 3])
    features = sets @ random.normal(size=[3, 8])
    features += random.normal(size=features.shape)
    sets[random.random(sets.shape) < 0.1] = -1
    return features.astype(np.float32), sets


def by_hand(rows, sets, queries, costs, folds):
    """Rows of unit length, folds that keep each class's share, one SVM each."""
    rows, queries = (
        np.float64(x) / (np.sqrt((np.float64(x) ** 2).sum(1)) + 1e-5)[:, None]
        for x in (rows, queries)
    )
    found, chosen = [], []
    for has in sets.T:
        x, y = rows[has != -1], np.where(has[has != -1] == 1, 1, -1)
        # Unshuffled and stratified: the i-th of a class goes to a fold so
        # that folds fill up in order.
        fold = np.empty(len(y), int)
        order = np.sort(np.where(y == y[0], 0, 1))
        spread = [
            np.bincount(order[f::folds], minlength=2) for f in range(folds)
        ]
        for k in (0, 1):
            where = np.flatnonzero((y == y[0]) == (k == 0))
            counts = [s[k] for s in spread]
            fold[where] = np.repeat(np.arange(folds), counts)
        means = []
        for cost in costs:
            values = []
            for f in range(folds):
                model = fitted(cost, x[fold != f], y[fold != f])
                of_fold = model.decision_function(x[fold == f])
                values.append(average_precision_score(y[fold == f], of_fold))
            means.append(np.mean(values))
        chosen.append(costs[int(np.argmax(means))])
        found.append(fitted(chosen[-1], x, y).decision_function(queries))
    return np.stack(found, axis=1), tuple(chosen)


def fitted(cost, x, y):
    return LinearSVC(
        C=cost, class_weight={1: 2, -1: 1}, dual=True, max_iter=2000,
        random_state=0,
    ).fit(x, y)  # fmt: skip


@pytest.mark.filterwarnings("ignore:Liblinear failed")
def test_costs_and_scores_are_those_of_folds_by_hand():
    rows, sets = features_and_sets()
    queries, _ = features_and_sets(20, seed=1)
    found = svm.fit(rows, sets, queries, svm.Settings(COSTS))
    expected, costs = by_hand(rows, sets, queries, COSTS, 3)
    assert found.costs == costs and len(set(costs)) > 1
    np.testing.assert_allclose(found.scores, expected, rtol=1e-6)


def voc_loops(ranks, has):
    """VOC's two rules for labels in the order of a ranking, as loops."""
    right = [has[i] for i in ranks]
    total = sum(right)
    recall, precision = [], []
    for n in range(1, len(right) + 1):
        recall.append(sum(right[:n]) / total)
        precision.append(sum(right[:n]) / n)
    points = 0.0
    for k in range(11):
        beyond = [
            p
            for r, p in zip(recall, precision, strict=True)
            if r >= k / 10 - 1e-9
        ]
        points += max(beyond, default=0.0) / 11
    area, before = 0.0, 0.0
    for r in sorted(set(recall)):
        best = max(p for s, p in zip(recall, precision, strict=True) if s >= r)
        area += (r - before) * best
        before = r
    return area, points


def test_mean_average_precision_is_that_of_vocs_loops():
    random = np.random.default_rng(3)
    values = random.normal(size=[40, 4])
    sets = random.integers(-1, 2, [40, 4])
    sets[:, 3] = np.minimum(sets[:, 3], 0)  # nobody has it: not judged
    expected = []
    for column, has in zip(values.T[:3], sets.T, strict=False):
        asked = np.flatnonzero(has != -1)
        ranks = asked[np.argsort(-column[asked])]
        expected.append(voc_loops(ranks, has))
    found = scores.mean_average_precision(values, sets)
    area, points = np.mean(expected, axis=0)
    assert found["map_area"] == pytest.approx(area, abs=1e-12)
    assert found["map_11"] == pytest.approx(points, abs=1e-12)
    assert found["num_classes_judged"] == 3


def test_average_precision_of_a_ranking_by_hand():
    # Right, wrong, right: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    found = scores.mean_average_precision(
        np.array([[3.0], [2.0], [1.0]]), np.array([[1], [0], [1]])
    )
    assert found["map_area"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found["map_11"] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_top_shares_count_the_five_largest():
    values = np.tile(np.arange(7.0), [3, 1])
    found = scores.top_shares(values, np.array([6, 2, 1]))
    assert (found["top1"], found["top5"]) == (1 / 3, 2 / 3)
    for name in ("top1", "top5"):
        low, high = found[f"{name}_interval"]
        assert low < found[name] < high
    assert "top5" not in scores.top_shares(values[:, :5], np.array([4, 0, 0]))


def test_top5_is_scikit_learns_by_the_names_of_the_columns():
    random = np.random.default_rng(0)
    values, names = random.normal(size=[50, 9]), np.arange(9) * 7
    labels = random.choice(names, 50)
    expected = top_k_accuracy_score(labels, values, k=5, labels=names)
    assert scores.top5_share(values, names, labels) == pytest.approx(expected)
    assert scores.top5_share(values[:, :5], names[:5], labels) is None


def test_scores_that_are_no_numbers_are_refused():
    found = targets.Targets(np.zeros(2), np.arange(2), ("a", "b"), False)
    with pytest.raises(ValueError, match="for 1 of 2 test images"):
        scores.figures(np.array([[np.nan, 0], [0, 1]]), found)


def test_low_shot_draws_so_many_of_each_class_and_repeats_by_seed():
    _, sets = features_and_sets(200)
    drawn = svm.low_shot(sets, 4, seed=1)
    assert (drawn == 1).sum(axis=0).tolist() == [4, 4, 4]
    assert (drawn == 0).sum(axis=0).tolist() == [8, 8, 8]
    # What is drawn is what was there.
    assert (sets[drawn != -1] == drawn[drawn != -1]).all()
    np.testing.assert_array_equal(drawn, svm.low_shot(sets, 4, seed=1))
    assert (drawn != svm.low_shot(sets, 4, seed=2)).any()


def test_unlabelled_images_are_unknown_to_every_class():
    sets = svm.one_hot(np.array([1, -1, 0]), 2)
    assert sets.tolist() == [[0, 1], [-1, -1], [1, 0]]


def write(folder, stems):
    """Images whose red and green say what is in them."""
    images = {}
    for place, stem in enumerate(stems):
        image = picture(16, 16) // 4
        objects = [
            (name, (1, 1, 5, 5), 0)
            for bit, name in enumerate(("red", "green"))
            if (place + 1) >> bit & 1
        ]
        for name, *_ in objects:
            image[..., ("red", "green").index(name)] += 150
        images[stem] = (image, objects)
    return detectors.write_voc(folder, images)


def mean_colour(images):
    import tensorflow as tf

    return tf.reduce_mean(images, axis=[1, 2])


@pytest.fixture
def voc_splits(tmp_path):
    """A VOC folder with 21 training and 9 test images."""
    folder = write(tmp_path, [f"{i:02}" for i in range(30)])
    lists = folder / "ImageSets/Main"
    for split, rows in (("train", range(21)), ("test", range(21, 30))):
        names = "".join(f"{i:02}\n" for i in rows)
        (lists / f"{split}.txt").write_text(names)
    return [
        data.open_source(f"voc:{folder}?split={split}")
        for split in ("train", "test")
    ]


def test_several_labels_are_measured_by_svms_without_being_asked(voc_splits):
    results = evaluation.evaluate(
        {"trained": mean_colour},
        *voc_splits,
        EvaluationConfig(svm_costs=(1.0, 10.0)),
        image_size=16,
    )
    figures = results["trained"]["svm"]
    assert list(results["trained"]) == ["svm"]
    assert figures["map_area"] == figures["map_11"] == 1.0
    assert len(figures["costs"]) == 2 and figures["chance"] < 0.7
    table = evaluation.format_table(results)
    assert "linear SVMs, mAP (11 points) %" in table


def test_low_shot_figures_are_means_of_draws(voc_splits):
    config = EvaluationConfig(
        protocols=("svm",), svm_shots=(1, 4), svm_samplings=3
    )
    results = evaluation.evaluate(
        {"trained": mean_colour}, *voc_splits, config, image_size=16
    )
    figures = results["trained"]["svm"]
    assert 0.5 < figures["map_area_1_shots"] <= figures["map_area_4_shots"]
    assert figures["map_area_4_shots_std"] >= 0.0
    table = evaluation.format_table(results)
    assert "linear SVMs, 4 images a class, mAP (area) %" in table


def named_source(labels, names, uri):
    images = np.zeros([len(labels), 4, 4, 3], np.uint8)
    return data.ArraySource(images, labels, class_names=names, uri=uri)


def test_test_classes_are_compared_by_name_and_not_by_number():
    train = named_source([0, 1, 2], ("ant", "bee", "cow"), "array:a")
    test = named_source([0, 1], ("bee", "cow"), "array:b")
    found = targets.of_sources(train, test)
    assert found.classes == ("ant", "bee", "cow")
    assert found.test.tolist() == [1, 2]


def test_a_class_that_training_lacks_is_refused_by_its_name():
    train = named_source([0, 1], ("ant", "bee"), "array:a")
    test = named_source([0, 1], ("bee", "cow"), "array:b")
    with pytest.raises(ValueError, match="Received: cow in test_data=array:b"):
        targets.of_sources(train, test)


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ([[1], [1], [0], [0], [0]], "2 training images with ant and 3"),
        ([[1], [1], [1], [0]], "3 training images with ant and 1"),
    ],
)
def test_classes_too_small_for_folds_are_refused(sets, words):
    settings = svm.Settings(COSTS)
    with pytest.raises(ValueError, match=words):
        svm.check_sizes(np.array(sets), settings, ("ant",))


def test_protocols_for_one_label_refuse_several_with_a_way_out(voc_splits):
    with pytest.raises(ValueError, match="or leave knn out of protocols"):
        evaluation.evaluate(
            {"trained": mean_colour},
            *voc_splits,
            EvaluationConfig(protocols=("knn",)),
            image_size=16,
        )


def test_one_label_and_several_do_not_go_together(voc_splits):
    one = named_source([0, 1], ("ant", "bee"), "array:a")
    with pytest.raises(ValueError, match="or both several. Received: array:a"):
        targets.of_sources(one, voc_splits[1])


@pytest.mark.slow
def test_blood_cells_are_told_by_svms_and_by_fine_tuning(shared_data):
    path = shared_data / "bccd_voc.zip"
    if not path.is_file():
        pytest.skip("needs bccd_voc.zip")
    images = [
        data.open_source(f"voc:{path}?split={split}")
        for split in ("train", "test")
    ]
    config = EvaluationConfig(
        protocols=("svm", "finetune"),
        svm_costs=(1.0,),
        finetune_steps=10,
        finetune_rate=0.01,
        finetune_head_rate=0.1,
        finetune_batch_size=12,
    )
    results = evaluation.evaluate(
        {"trained": evaluation.keras_network(detectors.tiny_backbone(3))},
        *images,
        config,
        image_size=32,
    )
    for figures in results["trained"].values():
        assert figures["num_classes_judged"] == 3
        # Nearly every image has red and white cells.
        assert figures["chance"] > 0.6
        assert figures["map_area"] > figures["chance"] - 0.1
