"""Whether there are enough rows for a number of clusters.

Imports nothing: recipes are checked before TensorFlow is imported.
"""


def check_filling(num_rows, num_clusters, *, rows="images", seen=""):
    """Refuses more clusters than rows.

    Args:
      num_rows: int, the rows to group.
      num_clusters: int, K, or the largest K of several heads.
      rows: str, what the rows are called.
      seen: str, the scope of that number, such as "an epoch".

    Raises:
      ValueError: if a cluster would stay empty.
    """
    if num_clusters > num_rows:
        told = f"{rows} {seen}".strip()
        raise ValueError(
            f"{num_rows} {told} cannot fill {num_clusters} clusters. Lower "
            f"num_clusters to {num_rows} or fewer, or give more {rows}."
        )
