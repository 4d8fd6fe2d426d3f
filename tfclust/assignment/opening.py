"""The commands' checks, before TensorFlow is imported, and their work."""

from tfclust import data, saved_model
from tfclust.runs import clusters_file, folder
from tfclust.runtime import folders, quiet


def run(config, say):
    """Does what a `ClusterConfig` says.

    Args:
      config: `ClusterConfig`. say: called with sentences.

    Raises:
      FileNotFoundError: if a run, an export, images or a file are not there.
      ValueError: if something given does not fit.
      DiskError: if the disk is full. OSError: if images are gone.
    """
    if config.compare:
        _compare(config, say)
        return
    _check_model(config)
    output = _output(config)
    _check_own(config, output)
    clusters_file.check(clusters_file.beside(output))
    if config.names:
        clusters_file.read_names(config.names)
    if config.keep_ids:
        _table(config.keep_ids)
    if config.gallery:
        folders.writable_file("gallery", config.gallery)
    quiet.import_tensorflow()
    from tfclust.assignment import assigning

    assigning.assign(config, output, say)


def embed(config, say):
    """Writes features as an `EmbedConfig` says; raises as `run`."""
    _check_model(config)
    output = _output(config)
    quiet.import_tensorflow()
    from tfclust.assignment import embedding

    embedding.embed(config, output, say)


def _check_model(config):
    if config.workdir:
        folder.check_trained(config.workdir)
    else:
        saved_model.newest_version(config.saved_model)
    for name in ("data", "known_data"):
        if getattr(config, name, ""):
            data.check_uri(getattr(config, name), name)


def _output(config):
    """The table's path, whose folder is made if it is missing, and tried."""
    from tfclust.assignment import table  # imports NumPy

    if config.output:
        path = folders.expanded(config.output)
    else:
        # The run's own table stays: clusters.json beside it has its names.
        name = folder.CLUSTERS
        if config.num_clusters:
            name = f"clusters_{config.num_clusters}.csv"
        path = folders.expanded(config.workdir) / name
    path = folders.writable_file("output", path)
    table.check(path)
    return path


def _check_own(config, output):
    """Refuses to replace a run's own clusters by others than its own."""
    if not config.workdir:
        return
    own = folders.expanded(config.workdir) / folder.CLUSTERS_FILE
    other = config.data or config.max_images or config.num_clusters
    if other and clusters_file.beside(output).resolve() == own.resolve():
        raise ValueError(
            f"output must not replace {own}, which has the run's own clusters "
            f"and their names. Received: output={output} with other images or "
            "clusters. Give another output."
        )


def _compare(config, say):
    from tfclust.assignment import comparing

    old, new = map(_table, config.compare)
    for line in comparing.in_words(comparing.compare(old, new), old[2]):
        say(line)
    of_old, of_new = (
        clusters_file.images_of(clusters_file.table_at(path))
        for path in config.compare
    )
    if of_old and of_new and not clusters_file.same_images(of_old, of_new):
        say(
            f"The old ones are of {of_old}, the new ones of {of_new}: images "
            "of the same name were taken for the same."
        )


def _table(path):
    """A table that is read again."""
    from tfclust.assignment import table

    return table.read(clusters_file.table_at(path))
