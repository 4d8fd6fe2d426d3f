"""What a backbone is worth: protocols on its features, beside baselines.

Each protocol is one file and knows nothing about methods. `evaluate` runs the
chosen ones on every backbone and returns nested dicts, ready for JSON.
"""

from typing import TYPE_CHECKING

from tfclust.runtime.first_use import on_first_use

if TYPE_CHECKING:
    from tfclust.evaluation.baselines import colours, pixels
    from tfclust.evaluation.classes import known_only
    from tfclust.evaluation.comparison import compared, csv_text, markdown
    from tfclust.evaluation.config import BASELINES, EvaluationConfig
    from tfclust.evaluation.feature_store import FeatureStore
    from tfclust.evaluation.network import (
        Network,
        PseudoLabels,
        check_weights,
        keras_network,
    )
    from tfclust.evaluation.probes.logistic import (
        LogisticResult,
        logistic_regression,
    )
    from tfclust.evaluation.probes.sgd import SGDResult, sgd_probe
    from tfclust.evaluation.protocols.clusters import (
        ClustersResult,
        evaluate_clusters,
    )
    from tfclust.evaluation.protocols.knn import (
        KNNResult,
        evaluate_knn,
        evaluate_knns,
        online_knn,
    )
    from tfclust.evaluation.protocols.record import Column, Protocol
    from tfclust.evaluation.protocols.table import PROTOCOLS
    from tfclust.evaluation.run import (
        answering,
        check_network,
        check_source,
        check_sources,
        evaluate,
        for_images,
        judging,
        learning,
        overlap_error,
        verdicts,
    )
    from tfclust.evaluation.subject import (
        FeaturePass,
        Subject,
        extract_features,
    )
    from tfclust.evaluation.table import format_table
else:
    __getattr__, __dir__ = on_first_use(__name__)

__all__ = [
    "BASELINES",
    "PROTOCOLS",
    "ClustersResult",
    "Column",
    "EvaluationConfig",
    "FeaturePass",
    "FeatureStore",
    "KNNResult",
    "LogisticResult",
    "Network",
    "Protocol",
    "PseudoLabels",
    "SGDResult",
    "Subject",
    "answering",
    "check_network",
    "check_source",
    "check_sources",
    "check_weights",
    "colours",
    "compared",
    "csv_text",
    "evaluate",
    "evaluate_clusters",
    "evaluate_knn",
    "evaluate_knns",
    "extract_features",
    "for_images",
    "format_table",
    "judging",
    "keras_network",
    "known_only",
    "learning",
    "logistic_regression",
    "markdown",
    "online_knn",
    "overlap_error",
    "pixels",
    "sgd_probe",
    "verdicts",
]
