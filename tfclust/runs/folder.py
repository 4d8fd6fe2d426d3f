"""The names of the files in a run's folder, each written once.

    config.flags          every knob of the run; --flagfile=config.flags
    plan.flags            the plan of a run without a recipe, with its reasons
    checkpoints/<step>/   arrays.npz and manifest.json: the exact state
    metrics.jsonl         one JSON object per epoch
    tensorboard/          the same for TensorBoard
    cache/                results of checking the images that cannot be kept
                          beside them; features/ of images that were measured
    skipped.txt           images left out, and why
    evaluation.json       figures of `tfclust.evaluate`
    evaluation_filters.html  its page of filters
    evaluation_so_far.json  its figures until it ended early
    report.html           the page of `tfclust.report`
    clusters.csv          the cluster of each image; `tfclust.cluster`
    clusters.json         names, sizes and exemplars of the clusters
    clusters.npz          their centres
    saved_model/<n>/      exports without --output
    .lock                 the process that trains here

A run of a sweep has three more files.
"""

from tfclust.runtime import checkpoint_names, folders, locks

CONFIG = "config.flags"
PLAN = "plan.flags"
CHECKPOINTS = checkpoint_names.CHECKPOINTS
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
CACHE = "cache"
FEATURES = "features"  # in the cache, by what they are computed from
SKIPPED = "skipped.txt"
EVALUATION = "evaluation.json"
FILTERS = "filters.html"  # after the name of the figures
SO_FAR = "so_far.json"  # likewise
REPORT = "report.html"
CLUSTERS = "clusters.csv"
CLUSTERS_FILE = "clusters.json"
SAVED_MODELS = "saved_model"
LOCK = locks.FILE

SWEEP_FLAGS = "sweep.flags"  # the run's recipe
SWEEP_IMAGES = "sweep.json"  # its images, which must not change
SWEEP_LOG = "sweep.log"  # the output of its commands
# In the sweep's own folder.
SWEEP_TABLE = "table.md"


def check_trained(workdir):
    """Refuses a folder in which no run has saved anything.

    Args:
      workdir: as the user gave it.

    Raises:
      FileNotFoundError: if there is no checkpoint, intact or damaged.
    """
    workdir = folders.expanded(workdir)
    if not has_run(workdir):
        raise no_run(workdir)


def has_run(workdir):
    """Whether there is a checkpoint, intact or damaged, in a Path."""
    return any(workdir.glob(f"{CHECKPOINTS}/[0-9]*"))


def no_run(workdir):
    """The FileNotFoundError for a folder without a checkpoint."""
    return FileNotFoundError(
        f"workdir={workdir} holds no run: expected "
        f"{CHECKPOINTS}/<step>/{checkpoint_names.MANIFEST}. Train first: "
        f"python -m tfclust.train --workdir={workdir} ..."
    )
