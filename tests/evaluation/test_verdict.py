"""What figures side by side are said to mean."""

import pytest

from tfclust.evaluation.intervals import of_share
from tfclust.evaluation.verdict import of_clusters, of_knn


def figures(**shares):
    return {
        name: {"top1": share, "top1_interval": of_share(share, 400)}
        for name, share in shares.items()
    }


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((0.64, 0.40, 0.56), "for 56.0% by raw pixels: the network has learnt"),
        ((0.97, 0.92, 0.97), "no clear difference here"),
        ((0.60, 0.40, 0.58), "no clear difference here"),
        ((0.40, 0.43, 0.41), "by the untrained network: nothing that tells"),
        ((0.50, 0.40, 0.70), "for 70.0% by raw pixels: nothing that tells"),
    ],
)
def test_verdict_compares_with_the_best_that_has_learnt_nothing(shares, words):
    named = zip(("trained", "untrained", "pixels"), shares, strict=True)
    assert words in of_knn(figures(**dict(named)))


def test_the_trained_alone_or_the_others_alone_are_not_judged():
    assert of_knn(figures(trained=0.5)) is None
    assert of_knn(figures(pixels=0.5, untrained=0.4)) is None


def test_groups_are_compared_with_the_best_of_the_others():
    amis = {"trained": 0.896, "untrained": 0.43, "pixels": 0.712}
    results = {n: {"ami": ami, "num_clusters": 10} for n, ami in amis.items()}
    told = of_clusters(results)
    assert told.startswith("10 groups of similar images")
    assert "by 0.90, and by 0.71 with raw pixels" in told
    assert of_clusters({"trained": results["trained"]}) is None
