"""ODC's memories as plain Python loops, in float64.

Features, labels and centroids are lists over images and clusters; sums and
counts are computed again each time.
"""

import numpy as np


class Memories:
    """rows `[N][D]`, labels `[N]`, centroids `[K][D]`."""

    def __init__(self, rows, labels, num_clusters):
        self.rows = [np.array(row, np.float64) for row in rows]
        self.labels = [int(label) for label in labels]
        self.centroids = [np.zeros_like(self.rows[0])] * num_clusters
        for cluster in range(num_clusters):
            self.refresh(cluster)

    def members(self, cluster):
        return [i for i, label in enumerate(self.labels) if label == cluster]

    def sizes(self):
        clusters = range(len(self.centroids))
        return [len(self.members(cluster)) for cluster in clusters]

    def refresh(self, cluster):
        members = self.members(cluster)
        if members:
            rows = [self.rows[i] for i in members]
            self.centroids[cluster] = sum(rows) / len(rows)

    def nearest(self, row, clusters):
        scores = [self.centroids[cluster] @ row for cluster in clusters]
        return clusters[int(np.argmax(scores))]

    def update(self, index, new_rows, weight):
        everywhere = list(range(len(self.centroids)))
        before = {i: self.rows[i] for i in map(int, index)}
        for i, new in zip(map(int, index), new_rows, strict=True):
            row = (1 - weight) * before[i] + weight * np.asarray(new)
            self.rows[i] = row / (np.linalg.norm(row) or 1.0)
            self.labels[i] = self.nearest(self.rows[i], everywhere)

    def remove_small(self, limit, halve):
        """`halve(rows, heir)` gives the heir's part, bool by member.

        Returns the sizes of the clusters that were dissolved.
        """
        sizes = self.sizes()
        mean = int(np.ceil(len(self.labels) / len(sizes)))
        small = [c for c, n in enumerate(sizes) if n < min(limit, mean)]
        large = [c for c in range(len(sizes)) if c not in small]
        for cluster in small:
            for i in self.members(cluster):
                self.labels[i] = self.nearest(self.rows[i], large)
        for heir in small:
            largest = int(np.argmax(self.sizes()))
            members = self.members(largest)
            part = halve(np.array([self.rows[i] for i in members]), heir)
            for i, moves in zip(members, part, strict=True):
                if moves:
                    self.labels[i] = heir
            self.refresh(largest)
            self.refresh(heir)
        return [sizes[c] for c in small]
