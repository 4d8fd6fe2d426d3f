"""The protocols by name, in the order in which figures are shown."""

from tfclust.evaluation.protocols import (
    clusters,
    filters,
    finetune,
    knn,
    layers,
    linear,
    pseudo_labels,
    retrieval,
    segmentation,
    svm,
    unlabelled,
)
from tfclust.evaluation.protocols.record import Protocol

PROTOCOLS: dict[str, Protocol] = {
    "knn": knn.PROTOCOL,
    "linear": linear.PROTOCOL,
    "layers": layers.PROTOCOL,
    "clusters": clusters.PROTOCOL,
    "svm": svm.PROTOCOL,
    "finetune": finetune.PROTOCOL,
    "segmentation": segmentation.PROTOCOL,
    "pseudo_labels": pseudo_labels.PROTOCOL,
    "retrieval": retrieval.PROTOCOL,
    "unlabelled": unlabelled.PROTOCOL,
    "filters": filters.PROTOCOL,
}
