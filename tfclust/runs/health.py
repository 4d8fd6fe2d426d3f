"""What a run's figures mean, in plain words, with the remedy.

Symptoms and remedies are those that users of the reference repositories met;
each sentence has its test.
"""

import math

FLAT_SHARE = 0.99  # loss / ln K of a net that has learnt nothing is 1
FLAT_EPOCHS = 3
COLLAPSED_SHARE = 0.1  # of K, effective clusters
COLLAPSED_EPOCHS = 3  # in a row, after which --stop_on_collapse ends a run
EMPTY_SHARE = 0.3  # of K
LARGEST_SHARE = 0.5  # of the images
UNLABELLED_SHARE = 0.3  # of the images
WAITING_SHARE = 0.2  # of a step's time, for images
MASS_ERROR = 0.01  # of a cluster's share, where passes end by themselves
RESTLESS_NMI = 0.1  # between two epochs; healthy runs have 0.4 and more
RESTLESS_EPOCHS = 5
RISE = 1.1  # loss of this epoch over that of the last
STALLED_EPOCHS = 3  # after the prototypes' release
IMAGES_A_CLUSTER = 39  # what faiss asks of k-means


def health(history, config):
    """Sentences on the last of the epochs' figures; none if all is well.

    Args:
      history: list of dicts, the figures of the epochs so far, as in
        `metrics.jsonl`.
      config: the method's config; its knobs decide which remedies apply.

    Returns:
      list of str.
    """
    logs = history[-1]
    previous = history[-2] if len(history) > 1 else None
    found = [
        _flat(logs, config),
        _collapsed(logs, config),
        _dominated(logs, config),
        _empty(logs, config),
        _restless(logs, config),
        _rising(logs, previous, config),
        _stalled(history, config),
        _unlabelled(logs, config),
        _off_balance(logs, config),
        _waiting(logs),
    ]
    return [sentence for sentence in found if sentence]


def lasting_collapse(history, config):
    """The sentence on collapse if the last epochs all have it, or None.

    Counted in effective clusters by raw score, which identical projections
    leave at 1. A loss at ln K alone does not count: a run that warms up has it.
    Arguments are those of `health`.
    """
    last = history[-COLLAPSED_EPOCHS:]
    found = [_collapsed(logs, config) for logs in last]
    lasts = len(found) == COLLAPSED_EPOCHS and None not in found
    return found[-1] if lasts else None


def notices(config, *, num_images, batch_size, total_steps, steps_per_epoch):
    """Sentences on settings that are allowed but seldom meant.

    Args:
      config: the method's config.
      num_images: int N.
      batch_size: int B.
      total_steps: int, optimizer steps of the run.
      steps_per_epoch: int.

    Returns:
      list of str.
    """
    found = []
    largest = max(config.num_clusters)
    queue_rows = getattr(config, "queue_rows", None)
    if queue_rows is not None and batch_size + queue_rows < largest:
        rows = math.ceil((largest - batch_size) / batch_size) * batch_size
        found.append(
            f"A batch of {batch_size} images cannot fill {largest} clusters "
            f"equally. Lower --num_clusters, or add --queue_rows={rows} with "
            "an early --queue_start_epoch."
        )
    freeze_steps = getattr(config, "freeze_steps", 0)
    if freeze_steps >= total_steps:
        found.append(
            f"The prototypes stay as they begin: --freeze_steps={freeze_steps} "
            f"covers all {total_steps} steps. An epoch has {steps_per_epoch}."
        )
    images = num_images / largest
    by_kmeans = getattr(config, "clustering", "kmeans") == "kmeans"
    by_kmeans = by_kmeans and hasattr(config, "kmeans_iters")
    if by_kmeans and images < IMAGES_A_CLUSTER:
        found.append(
            f"k-means has {images:.0f} images a cluster, and "
            f"{IMAGES_A_CLUSTER} or more are comfortable. Lower --num_clusters "
            f"to {max(2, num_images // IMAGES_A_CLUSTER)} or fewer."
        )
    return found


def _flat(logs, config):
    share = logs["loss_over_log_k"]
    if logs["epoch"] < FLAT_EPOCHS or share < FLAT_SHARE:
        return None
    return (
        f"Nothing is learnt so far: the loss is {share:.2f} of ln K, which is "
        "chance. "
        + _remedies(
            config,
            epsilon="lower --epsilon (0.03; 0.01 for small images)",
            freeze_steps="freeze prototypes longer (--freeze_steps)",
            learning_rate="change --learning_rate",
            augmentation="soften the augmentation (--jitter_strength=0.5)",
        )
    )


def _collapsed(logs, config):
    effective, count = logs["effective_clusters"], _open_k(logs, config)
    # Two clusters cannot be more than two in effect.
    if effective >= min(max(2.0, COLLAPSED_SHARE * count), 0.75 * count):
        return None
    return (
        f"The images collapse into {effective:.1f} clusters in effect, of "
        f"{count:g}. "
        + _remedies(
            config,
            epsilon="lower --epsilon",
            freeze_steps="freeze prototypes longer (--freeze_steps)",
            learning_rate="lower --learning_rate",
            num_clusters="lower --num_clusters",
        )
    )


def _dominated(logs, config):
    share = logs["largest_cluster_share"]
    if share < LARGEST_SHARE:
        return None
    return f"One cluster holds {share:.0%} of the images. " + _remedies(
        config,
        epsilon="raise --epsilon a little, or --sinkhorn_iters",
        learning_rate="lower --learning_rate",
        augmentation="look for images that are all alike",
    )


def _empty(logs, config):
    count = _open_k(logs, config)
    # Those that a clustering did not find are not missing.
    empty = logs["empty_clusters"] - (_mean_k(config) - count)
    # Given classes that nothing is named by yet are no fault of clustering.
    if empty < EMPTY_SHARE * count or _given_labels(config):
        return None
    return (
        f"{empty:.0f} of {count:g} clusters are empty: no image is nearest to "
        "them. "
        + _remedies(
            config,
            queue_rows="help small batches by --queue_rows",
            num_clusters="lower --num_clusters (ten times the classes expected "
            "is ample)",
        )
    )


def _restless(logs, config):
    nmi = logs.get("nmi_previous")
    if nmi is None or logs["epoch"] < RESTLESS_EPOCHS or nmi >= RESTLESS_NMI:
        return None
    return (
        f"Clusters do not settle: those of two epochs agree at NMI {nmi:.2f}, "
        "where 0.4 and more is usual. "
        + _remedies(
            config,
            dual_step="lower --dual_step",
            learning_rate="lower --learning_rate",
            num_clusters="lower --num_clusters",
        )
    )


def _rising(logs, previous, config):
    if previous is None or logs["loss"] <= RISE * previous["loss"]:
        return None
    rose = f"The loss rose from {previous['loss']:.3f} to {logs['loss']:.3f}"
    if _queue_comes_in(logs["epoch"] - 1, config):
        return (
            f"{rose} as the queue came in; a healthy queue makes it fall. "
            "Start it later (--queue_start_epoch), or shorten it "
            "(--queue_rows)."
        )
    return f"{rose}. " + _remedies(
        config,
        learning_rate="lower --learning_rate, or warm up longer "
        "(--warmup_epochs)",
    )


def _stalled(history, config):
    """Whether the loss fell only while the prototypes were frozen."""
    freeze_steps = getattr(config, "freeze_steps", 0)
    frozen = [logs for logs in history if logs["step"] <= freeze_steps]
    since = history[len(frozen) :]
    if len(frozen) < 2 or len(since) < STALLED_EPOCHS:
        return None
    fell_before = frozen[-1]["loss"] < frozen[0]["loss"]
    if not fell_before or min(s["loss"] for s in since) < frozen[-1]["loss"]:
        return None
    return (
        "The loss has not fallen since the prototypes were released at step "
        f"{freeze_steps}. Freeze them longer (--freeze_steps), or lower "
        "--learning_rate."
    )


def _unlabelled(logs, config):
    """Whether a clustering leaves many images out: noise, small clusters."""
    share = logs.get("unlabelled_share") or 0.0
    if share < UNLABELLED_SHARE:
        return None
    return f"{share:.0%} of the images have no label in this epoch. " + (
        _remedies(
            config,
            min_cluster_size="lower --min_cluster_size",
            pca_width="lower --pca_width",
            num_clusters="raise --num_clusters if that many were found",
        )
    )


def _off_balance(logs, config):
    """Whether a label step's passes ended by their number."""
    error = logs.get("label_mass_error") or 0.0
    if error > MASS_ERROR:
        return (
            f"Soft labels leave a cluster {error:.0%} off its share: the "
            "passes of the label step ended before they were even. Raise "
            "--label_iters."
        )
    passes = logs.get("label_passes") or 0
    if not passes or passes < config.label_iters:
        return None
    return (
        f"A label step ended after {passes:,} passes, before images' factors "
        f"changed by less than {config.label_tolerance:g}. Clusters are even; "
        "raise --label_iters for labels nearer to the best, or "
        "--label_tolerance for quicker label steps."
    )


def _waiting(logs):
    """Whether the processors do not make crops as fast as a step takes them."""
    wait = logs.get("input_wait_milliseconds") or 0.0
    step = logs.get("step_milliseconds") or 0.0
    if wait <= WAITING_SHARE * (wait + step):
        return None
    return (
        f"A step waits {wait:,.0f} ms for its images and computes for "
        f"{step:,.0f} ms. Store them smaller (a short side of twice the "
        "largest view), use fewer views (--num_views), cut them faster "
        "(--antialias_from=2), or give the run more processors."
    )


def _queue_comes_in(epoch, config):
    """Whether the queue began to fill in this epoch (from 0) or the last."""
    start = getattr(config, "queue_start_epoch", None)
    return bool(getattr(config, "queue_rows", 0)) and epoch - start in (0, 1)


def _given_labels(config):
    """Whether the classes come from outside, and no knob changes them."""
    return hasattr(config, "pseudo_labels")


def _open_k(logs, config):
    """Clusters that images can be in: those found, or all."""
    return logs.get("found_clusters") or _mean_k(config)


def _mean_k(config):
    return sum(config.num_clusters) / len(config.num_clusters)


def _remedies(config, **by_knob):
    """Those that the method has a knob for; rate and crops every run has."""
    everywhere = ("learning_rate", "augmentation")
    if _given_labels(config):
        by_knob.pop("num_clusters", None)
    words = [
        remedy
        for knob, remedy in by_knob.items()
        if knob in everywhere or hasattr(config, knob)
    ]
    words[0] = words[0][0].upper() + words[0][1:]
    return (
        "; or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
        + "."
    )
