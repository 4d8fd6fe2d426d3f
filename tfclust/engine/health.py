"""What a run's figures mean, in plain words, with the remedy.

Symptoms and remedies are those that users of the reference repositories met;
each sentence has a test. Figures and symptoms are here; what helps is listed
with the method's knobs (`MethodConfig.remedies`). A method without clusters has
no figures of clusters, and none of their symptoms.
"""

FLAT_SHARE = 0.99  # of chance; a network that has learnt nothing has 1
FLAT_EPOCHS = 3
COLLAPSED_SHARE = 0.1  # of K, effective clusters
COLLAPSED_EPOCHS = 3  # in a row, after which --stop_on_collapse ends a run
EMPTY_SHARE = 0.3  # of K
LARGEST_SHARE = 0.5  # of the images
UNLABELLED_SHARE = 0.3  # of the images
WAITING_SHARE = 0.2  # of a step's time, for images
RESTLESS_NMI = 0.1  # between two epochs; healthy runs have 0.4 and more
RESTLESS_EPOCHS = 5
RISE = 1.1  # loss of this epoch over that of the last


def health(history, config):
    """Sentences on the last epoch's figures; none if all is well.

    Args:
      history: list of dicts, the figures of the epochs so far, as in
        `metrics.jsonl`.
      config: the method's config, which has the remedies.

    Returns:
      list of str.
    """
    found = [_explained(symptom, history, config) for symptom in SYMPTOMS]
    found += [*config.symptoms(history), _waiting(history[-1])]
    return [sentence for sentence in found if sentence]


def lasting_collapse(history, config):
    """The sentence on collapse if the last epochs all show it, else None.

    Collapse is judged by effective clusters by raw score: identical projections
    leave 1. A loss at chance does not count, since a run that warms up has it
    too. Arguments are those of `health`.
    """
    last = history[-COLLAPSED_EPOCHS:]
    seen = [_collapsed([logs], config) for logs in last]
    if len(seen) < COLLAPSED_EPOCHS or None in seen:
        return None
    return config.explain("collapsed", seen[-1], history)


def _explained(symptom, history, config):
    seen = SYMPTOMS[symptom](history, config)
    return seen and config.explain(symptom, seen, history)


def _flat(history, config):
    logs = history[-1]
    share = logs.get("loss_over_log_k")
    if share is None or logs["epoch"] < FLAT_EPOCHS or share < FLAT_SHARE:
        return None
    return (
        f"Nothing has been learnt so far: the loss is {share:.2f} of chance, "
        "the loss of uniform predictions"
    )


def _collapsed(history, config):
    logs = history[-1]
    effective = logs.get("effective_clusters")
    if effective is None:
        return None
    count = _open_k(logs, config)
    # Two clusters cannot have more than two effective ones.
    if effective >= min(max(2.0, COLLAPSED_SHARE * count), 0.75 * count):
        return None
    return (
        f"The images collapse into {effective:.1f} effective clusters of "
        f"{count:g}"
    )


def _dominated(history, config):
    share = history[-1].get("largest_cluster_share")
    if share is None or share < LARGEST_SHARE:
        return None
    return f"One cluster holds {share:.0%} of the images"


def _empty(history, config):
    logs = history[-1]
    if logs.get("empty_clusters") is None:
        return None
    count = _open_k(logs, config)
    # Clusters that a clustering did not find are not missing.
    empty = logs["empty_clusters"] - (_mean_k(config) - count)
    if empty < EMPTY_SHARE * count:
        return None
    return (
        f"{empty:.0f} of {count:g} clusters are empty: no image is nearest to "
        "them"
    )


def _restless(history, config):
    logs = history[-1]
    nmi = logs.get("nmi_previous")
    if nmi is None or logs["epoch"] < RESTLESS_EPOCHS or nmi >= RESTLESS_NMI:
        return None
    return (
        f"Clusters do not settle: two epochs agree with an NMI of {nmi:.2f}, "
        "where 0.4 or more is usual"
    )


def _rising(history, config):
    if len(history) < 2:
        return None
    before, now = history[-2]["loss"], history[-1]["loss"]
    if now <= RISE * before:
        return None
    return f"The loss rose from {before:.3f} to {now:.3f}"


def _unlabelled(history, config):
    """Whether a clustering leaves out many images: noise, small clusters."""
    share = history[-1].get("unlabelled_share") or 0.0
    if share < UNLABELLED_SHARE:
        return None
    return f"{share:.0%} of the images have no label in this epoch"


def _waiting(logs):
    """Whether the processors crop images more slowly than steps use them."""
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


def _open_k(logs, config):
    """Clusters that images can be in: those found, or all."""
    return logs.get("found_clusters") or _mean_k(config)


def _mean_k(config):
    return sum(config.num_clusters) / len(config.num_clusters)


# Each gives what it sees in the figures, or None; in the order of sentences.
SYMPTOMS = {
    "flat": _flat,
    "collapsed": _collapsed,
    "dominated": _dominated,
    "empty": _empty,
    "restless": _restless,
    "rising": _rising,
    "unlabelled": _unlabelled,
}
