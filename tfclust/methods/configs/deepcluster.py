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
        "number, the largest number that is kept.",
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
        "neighbours; hdbscan, dense regions, where noise gets no label.",
        source="DeepCluster, 3.3 and appendix",
        choices=("kmeans", "pic", "hdbscan"),
    )
    pca_width: int = option(
        256,
        "Width to which PCA whitens before clustering; 0 for no PCA.",
        source="DeepCluster, 3.3",
        lower=0,
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
