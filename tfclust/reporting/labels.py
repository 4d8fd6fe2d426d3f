"""How many images of each label the clusters hold."""

import numpy as np

from tfclust.assignment.cards import class_name


def table(clusters, labels, class_names, most_rows=100, most_columns=40):
    """Counts of labels in the largest clusters; None with too many labels.

    Args:
      clusters: int `[N]`. labels: int `[N]`, -1 for none.
      class_names: sequence of str by label, or None.

    Returns:
      Names of the columns; rows `(cluster, counts)`, clusters with the same
      commonest label together; and how many clusters have no row.
    """
    known = labels >= 0
    numbers, rows = np.unique(clusters[known], return_inverse=True)
    classes, columns = np.unique(labels[known], return_inverse=True)
    if not len(numbers) or len(classes) > most_columns:
        return None
    counts = np.zeros([len(numbers), len(classes)], int)
    np.add.at(counts, (rows, columns), 1)
    sizes = counts.sum(axis=1)
    largest = np.sort(np.argsort(-sizes, kind="stable")[:most_rows])
    numbers, counts = numbers[largest], counts[largest]
    order = np.lexsort((-counts.max(axis=1), counts.argmax(axis=1)))
    names = [class_name(label, class_names) for label in classes]
    found = [(int(numbers[i]), counts[i].tolist()) for i in order]
    return names, found, len(sizes) - len(found)
