"""Several networks in one table, with intervals and chance."""

import csv
import io

from tfclust import evaluation

RESULTS = {
    "swav|a": {
        "knn": {
            "top1": 0.834,
            "top1_interval": [0.82, 0.845],
            "num_neighbors": 20,
            "chance": 0.1,
        },
        "clusters": {"ami": 0.5, "num_clusters": 10, "own_ami": 0.75},
    },
    "pixels": {
        "knn": {"top1": 0.25, "num_neighbors": 20, "chance": 0.1},
        "clusters": {"ami": 0.125, "num_clusters": 10},
    },
}


def test_markdown_has_a_line_a_network_and_one_for_chance():
    assert evaluation.markdown(RESULTS).splitlines() == [
        "|  | 20-NN % | AMI |",
        "| --- | --- | --- |",
        r"| swav\|a | 83.4 (82.0 to 84.5) | 0.500 |",
        "| pixels | 25.0 | 0.125 |",
        "| chance | 10.0 | 0.000 |",
    ]


def test_csv_has_every_figure_as_a_share_with_its_limits():
    lines = list(csv.DictReader(io.StringIO(evaluation.csv_text(RESULTS))))
    assert lines[0] == {
        "network": "swav|a",
        "protocol": "knn",
        "figure": "weighted 20-NN, top-1",
        "value": "0.834",
        "low": "0.82",
        "high": "0.845",
        "chance": "0.1",
    }
    assert [(of["network"], of["figure"]) for of in lines[1:]] == [
        ("pixels", "weighted 20-NN, top-1"),
        ("swav|a", "10-means, AMI"),
        ("pixels", "10-means, AMI"),
        ("swav|a", "own clusters, AMI"),
    ]


def test_figure_that_the_first_network_lacks_is_shown():
    results = dict(reversed(RESULTS.items()))
    lines = evaluation.format_table(results).splitlines()
    own = next(line for line in lines if line.startswith("own clusters, AMI"))
    assert own.split()[-3:] == ["-", "0.750", "0.000"]
