"""Plain NumPy loops of online k-means, in float64, as its paper states it."""

import numpy as np


class Clusters:
    """One head: centroids of the last epoch and of now `[D, K]`, duals, counts.

    Args:
      centroids: `[D, K]`, unit columns.
      dual_step: change of a dual by one row. min_share: gamma'.
    """

    def __init__(self, centroids, *, dual_step, min_share):
        self.last = np.array(centroids, np.float64)
        self.current = self.last.copy()
        self.duals = np.zeros(self.last.shape[1])
        self.counts = np.zeros(self.last.shape[1], np.int64)
        self.dual_step, self.min_share = dual_step, min_share

    def assign(self, rows, *, second_stage=False, gap=1e-4):
        """Labels `[B]`; refuses ties that float32 could break otherwise."""
        centroids = self.last if second_stage else self.current
        labels = []
        for row in rows:
            scores = row @ centroids + self.duals
            first, second = np.sort(scores)[::-1][:2]
            assert first - second > gap, "a near-tie: take another seed"
            labels.append(int(np.argmax(scores)))
        return np.array(labels)

    def update(self, rows, labels, *, second_stage=False):
        """The duals, then the centroids, for a batch."""
        num_clusters = len(self.duals)
        for k in range(num_clusters):
            taken = np.sum(labels == k)
            self.duals[k] -= self.dual_step * taken
            self.duals[k] += (
                self.dual_step * len(rows) * self.min_share / num_clusters
            )
            if self.min_share < 1:
                self.duals[k] = max(0.0, self.duals[k])
        for k in range(num_clusters):
            members = rows[labels == k]
            if not len(members):
                continue
            total = self.counts[k] * self.current[:, k] + members.sum(axis=0)
            self.counts[k] += len(members)
            self.current[:, k] = total / self.counts[k]
            if not second_stage:
                self.current[:, k] /= np.linalg.norm(self.current[:, k])

    def next_epoch(self, share=None):
        """`share` of the ended epoch in the mean of the second stage."""
        if share is not None:
            for k in range(len(self.duals)):
                mean = self.current[:, k] / np.linalg.norm(self.current[:, k])
                mean = (1 - share) * self.last[:, k] + share * mean
                self.current[:, k] = mean / np.linalg.norm(mean)
        self.last = self.current.copy()
        self.counts[:] = 0


def add_vote(votes, label, share, num_places=5):
    """`[[cluster, weight], ...]` of one image after one more label."""
    votes = [list(vote) for vote in votes]
    if label not in [cluster for cluster, _ in votes]:
        if len(votes) < num_places:
            votes.append([label, 0.0])
        else:  # the others share what the evicted one had
            weights = [weight for _, weight in votes]
            evicted = weights.index(min(weights))
            votes[evicted] = [label, 0.0]
            left = 1 - weights[evicted]
            votes = [[cluster, weight / left] for cluster, weight in votes]
    for vote in votes:
        vote[1] *= 1 - share
        if vote[0] == label:
            vote[1] += share
    return votes


def soft_label(votes, num_clusters):
    """`[K]`: softmax of weight / 0.5 over the clusters that have a weight."""
    target = np.zeros(num_clusters)
    for cluster, weight in votes:
        target[cluster] = np.exp(weight / 0.5) if weight > 0 else 0.0
    return target / target.sum()


def cluster_epochs(rows, start, *, batch, epochs, seed=0, **knobs):
    """Clusters fixed rows; returns the labels `[N]` of the last epoch."""
    clusters = Clusters(start, **knobs)
    labels = np.full(len(rows), -1)
    generator = np.random.default_rng(seed)
    for _ in range(epochs):
        for index in generator.permutation(len(rows)).reshape(-1, batch):
            labels[index] = clusters.assign(rows[index], gap=-1)
            clusters.update(rows[index], labels[index])
        clusters.next_epoch()
    return labels
