"""Whether there are rows enough for so many clusters.

Imports nothing: recipes are checked before TensorFlow is there.
"""


def check_filling(num_rows, num_clusters, *, rows="images", seen=""):
    """Refuses more clusters than rows.

    Args:
      num_rows: int, what is grouped.
      num_clusters: int, K, or the largest K of several heads.
      rows: str, what the rows are called.
      seen: str, when they are that many, such as "an epoch".

    Raises:
      ValueError: if a cluster would stay empty.
    """
    if num_clusters > num_rows:
        told = f"{rows} {seen}".strip()
        raise ValueError(
            f"{num_rows} {told} cannot fill {num_clusters} clusters. Lower "
            f"num_clusters to {num_rows} or fewer, or give more {rows}."
        )
