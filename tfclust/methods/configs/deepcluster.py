"""Knobs of DeepCluster."""

import dataclasses

from tfclust.engine.config import (
    ClusteringConfig,
    few_images_for_kmeans,
    with_remedies,
)
from tfclust.options import option


@dataclasses.dataclass(frozen=True)
class DeepClusterConfig(ClusteringConfig):
    """Knobs of DeepCluster; defaults are the paper's for ImageNet."""

    num_clusters: tuple[int, ...] = option(
        (10000,),
        "Clusters, one value; with pic and hdbscan, which find their own "
        "number, the most that are kept.",
        source="DeepCluster, 4.1",
        lower=2,
    )
    projection_width: int = option(
        0,
        "Width of projections; 0 clusters the features as they are.",
        source="DeepCluster, which clusters the backbone's fc7",
        lower=0,
    )
    clustering: str = option(
        "kmeans",
        "How images are grouped: k-means; pic, power iterations on a graph of "
        "neighbours; hdbscan, dense regions, and noise has no label.",
        source="DeepCluster, 3.3 and appendix",
        choices=("kmeans", "pic", "hdbscan"),
    )
    pca_width: int = option(
        256,
        "Width to which PCA whitens before clustering; 0 for neither.",
        source="DeepCluster, 3.3",
        lower=0,
    )
    kmeans_iters: int = option(
        20, "Iterations of k-means.", source="clustering.py", lower=1
    )
    empty_clusters: str = option(
        "split",
        "Within k-means an empty cluster takes half of a large one (split, "
        "faiss), stands beside a random one (copy, DeeperCluster) or stays.",
        source="faiss",
        choices=("split", "copy", "keep"),
    )
    min_cluster_size: int = option(
        10,
        "Images that make a dense region; read by hdbscan alone.",
        unit="images",
        lower=2,
    )
    balance: str = option(
        "sampling",
        "Clusters count alike: images are drawn evenly over clusters, or "
        "losses weigh by the inverse of the cluster's size.",
        source="DeepCluster, 3.3",
        choices=("sampling", "weights"),
    )
    classifier_rate: float = option(
        1.0,
        "Factor on the classifier's learning rate. It starts anew each epoch "
        "and has no momentum: with few steps an epoch it needs 10 or so, or "
        "features grow in its place.",
        source="main.py",
        lower=0.0,
    )
    reassign_epochs: int = option(
        1,
        "Epochs that labels and a classifier live.",
        unit="epochs",
        source="main.py",
        lower=1,
    )

    def __post_init__(self):
        super().__post_init__()
        if len(self.num_clusters) != 1:
            raise ValueError(
                "num_clusters has one value: DeepCluster has one classifier. "
                f"Received: num_clusters={self.num_clusters}. deepcluster_v2 "
                "and sela take several."
            )

    @property
    def fills_clusters(self):
        return self.clustering == "kmeans"

    def remedies(self):
        remedies = with_remedies(
            super().remedies(), first=True, unlabelled="lower --pca_width"
        )
        return with_remedies(
            remedies, first=True, unlabelled="lower --min_cluster_size"
        )

    def notices(self, facts):
        if not self.fills_clusters:
            return []
        return few_images_for_kmeans(self, facts)
