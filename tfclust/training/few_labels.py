"""Which labels an evaluation may learn from: a share, or a list of names."""

import hashlib

from tfclust import data


def chosen(command, config, source, output, say=None):
    """`source`, or its images that the command chooses by their labels.

    Args:
      command: has `label_share` and `label_list`.
      config: `EvaluationConfig`.
      source: `data.Source` to learn from, or None.
      output: path of the figures, or None: beside it a drawn list is written.
      say: called with a sentence on what was chosen, or None.
    """
    share, path = command.label_share, command.label_list
    if source is None or (share is None and not path):
        return source
    whole = source.num_images
    if share is None:
        source, where = data.listed(source, path), path
    else:
        source = data.stratified(source, share, config.evaluation_seed)
        where = path
        if not path and output is not None:
            where = output.parent / _file_name(source, share, config)
        if where:
            data.write_list(source, where)
    if say is not None:
        names = f", listed in {where}" if where else ""
        say(
            f"Learns from the labels of {source.num_images:,} of {whole:,} "
            f"images of {source.uri}{names}."
        )
    return source


def _file_name(source, share, config):
    """One name for each split, whatever images it was drawn from."""
    names = "\n".join(source.manifest().names)
    digest = hashlib.sha256(names.encode("utf-8", "surrogateescape"))
    seed = config.evaluation_seed
    return f"labels_{share:g}_seed{seed}_{digest.hexdigest()[:8]}.txt"
