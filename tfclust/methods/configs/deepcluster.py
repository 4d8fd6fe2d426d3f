"""Knobs of DeepCluster."""

import dataclasses
import math

from tfclust.engine.config import ClusteringConfig, few_images_for_kmeans
from tfclust.engine.planning import Setting, one_size, rates
from tfclust.engine.remedies import Remedy, with_remedies
from tfclust.options import SHAPES, option, text

FITTED_STEPS = 500  # in which a classifier that starts afresh learns its labels
FAST_CLASSIFIER = 10.0

_PCA_WIDTH = 64  # of a plan
_FEWEST_STEPS = 100  # of a plan, between two label steps


@dataclasses.dataclass(frozen=True)
class DeepClusterConfig(ClusteringConfig):
    """Knobs of DeepCluster; defaults are the paper's for ImageNet."""

    num_clusters: tuple[int, ...] = option(
        (10000,),
        "Clusters, one value; with pic and hdbscan, which find their own "
        "number, the largest number that is kept.",
        source="DeepCluster, 4.1",
        lower=2,
        resume="never",
        why_never=SHAPES,
    )
    projection_width: int = option(
        0,
        "Width of projections; 0 clusters the features as they are.",
        source="DeepCluster, which clusters the backbone's fc7",
        lower=0,
        resume="never",
        why_never=SHAPES,
    )
    clustering: str = option(
        "kmeans",
        "How images are grouped: k-means; pic, power iterations on a graph of "
        "neighbours; hdbscan, dense regions, where noise gets no label.",
        source="DeepCluster, 3.3 and appendix",
        choices=("kmeans", "pic", "hdbscan"),
    )
    pca_width: int = option(
        256,
        "Width to which PCA whitens before clustering; 0 for no PCA.",
        source="DeepCluster, 3.3",
        lower=0,
        resume="never",
        why_never=SHAPES,
    )
    kmeans_iters: int = option(
        20, "Iterations of k-means.", source="clustering.py", lower=1
    )
    empty_clusters: str = option(
        "split",
        "In k-means an empty cluster takes half of a large one (split, as "
        "faiss), is put beside a random one (copy, as DeeperCluster) or stays.",
        source="faiss",
        choices=("split", "copy", "keep"),
    )
    min_cluster_size: int = option(
        10,
        "Images that make a dense region; read only by hdbscan.",
        unit="images",
        lower=2,
    )
    balance: str = option(
        "sampling",
        "How clusters get equal weight: images are drawn evenly over clusters, "
        "or losses are weighted by the inverse of the cluster's size.",
        source="DeepCluster, 3.3",
        choices=("sampling", "weights"),
    )
    classifier_rate: float = option(
        1.0,
        "Factor on the classifier's learning rate. The classifier restarts "
        "each epoch and has no momentum: with few steps per epoch it needs 10 "
        "or so, or the features grow instead.",
        source="main.py",
        lower=0.0,
    )
    reassign_epochs: int = option(
        1,
        "Epochs for which labels and a classifier are kept.",
        unit="epochs",
        source="main.py",
        lower=1,
    )

    def __post_init__(self):
        super().__post_init__()
        if len(self.num_clusters) != 1:
            raise ValueError(
                "num_clusters must be one value: DeepCluster has one "
                f"classifier. Received: num_clusters={self.num_clusters}. "
                "deepcluster_v2 and sela take several."
            )

    @property
    def fills_clusters(self):
        return self.clustering == "kmeans"

    def remedies(self, facts, figures):
        faster = Remedy(
            "let the fresh classifier learn faster",
            "classifier_rate",
            text(FAST_CLASSIFIER),
        )
        few = self._restart_steps(facts) < FITTED_STEPS
        first = few and self.classifier_rate < FAST_CLASSIFIER
        smaller = Remedy("let smaller groups count", "min_cluster_size")
        return with_remedies(
            super().remedies(facts, figures),
            first=True,
            flat=(faster,) if first else (),
            collapsed=(faster,) if first else (),
            empty=(faster,) if first else (),
            unlabelled=(smaller, Remedy("compare fewer values", "pca_width")),
        )

    def watched(self, facts):
        # Loss and clusters are the classifier's. One of few steps is still at
        # chance, and its scores favour a few clusters, whatever was learnt.
        if self._restart_steps(facts) < FITTED_STEPS:
            return {}
        return super().watched(facts)

    def _restart_steps(self, facts):
        """Steps for which a classifier is kept."""
        return self.reassign_epochs * facts.steps_per_epoch

    def notices(self, facts):
        if not self.fills_clusters:
            return []
        return few_images_for_kmeans(self, facts)

    @classmethod
    def plan(cls, facts):
        given = facts.given
        falling = rates(facts, 0.05, weight_decay=5e-4)
        keep = ("optimizer", "learning_rate", "weight_decay")
        # A classifier that starts afresh needs some steps to say anything.
        lasting = math.ceil(_FEWEST_STEPS / facts.steps_per_epoch)
        return {
            "num_clusters": Setting(
                (facts.clusters(images_a_cluster=39),),
                "2 sqrt(N), and what k-means needs of images each",
            ),
            "pca_width": Setting(
                # As many directions as there are at most.
                min(
                    given.get("projection_width") or _PCA_WIDTH,
                    _PCA_WIDTH,
                    facts.num_images - 1,
                ),
                "as in CIFAR's recipe",
            ),
            "classifier_rate": Setting(10.0, "few steps an epoch"),
            "reassign_epochs": Setting(
                lasting, f"{_FEWEST_STEPS} steps or more for a classifier"
            ),
            **one_size(facts, 1, smallest=0.2),
            **{name: falling[name] for name in keep},
            **_schedule(facts),
            **_unwatched(facts, given.get("reassign_epochs", lasting)),
        }


def _schedule(facts):
    """DeepCluster's constant rate with one drop, unless another is given."""
    if facts.given.get("schedule", "constant") != "constant":
        return {}
    epochs = max(1, facts.total_steps // facts.steps_per_epoch)
    drops = ((float(round(0.8 * epochs)), 0.3),)
    return {
        "schedule": Setting("constant", "DeepCluster's own"),
        "rate_drops": Setting(drops, "as in CIFAR's recipe"),
    }


def _unwatched(facts, reassign_epochs):
    """What to say where no classifier lasts long enough to show trouble."""
    if reassign_epochs * facts.steps_per_epoch >= FITTED_STEPS:
        return {}
    why = (
        "stops nothing here: a classifier that starts afresh within "
        f"{FITTED_STEPS} steps shows no trouble (docs/plans.md)"
    )
    return {"on_trouble": Setting("stop", why)}
