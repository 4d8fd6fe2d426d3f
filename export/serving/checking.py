"""Whether a server can do with an export what its configuration promises."""

import pathlib

from export.serving import exports
from export.serving.faults import ServingError
from export.serving.transport import described

WARM_UP = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")
_MOST_RECORDS = 1000  # with more, the server refuses the version


def check(export, batch_sizes):
    """Compares each labelled version with what the configuration says.

    Args:
      export: `exports.Export`. batch_sizes: increasing ints.

    Returns:
      list of str, remarks for the user.

    Raises:
      ServingError: if a server could not serve it so.
    """
    remarks, seen = [], {}
    several_sizes: set[str] = set()
    for number in sorted(set(export.labels.values())):
        signatures = read_signatures(export.folder / str(number))
        _check_batches(export, number, signatures)
        several_sizes |= _of_several_sizes(signatures)
        seen[number] = signatures
        remarks += _on_warm_up(export, number, batch_sizes)
    if len({str(signatures) for signatures in seen.values()}) > 1:
        numbers = " and ".join(map(str, seen))
        remarks.append(
            f"Versions {numbers} of {export.name} differ in their signatures: "
            "a client of one may not understand the other."
        )
    if several_sizes:
        remarks.append(
            f"Requests to {' and '.join(sorted(several_sizes))} of "
            f"{export.name} must all have images of one size: the server joins "
            "them, and refuses all of a batch whose sizes differ. Resize "
            "before, or send files (serving_default)."
        )
    return remarks


def read_signatures(version):
    """`{name: transport.Signature}` of a version, from its file.

    Raises:
      ServingError: if the file cannot be read.
    """
    from google.protobuf import message
    from tensorflow.core.protobuf import saved_model_pb2

    path = version / "saved_model.pb"
    try:
        model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        graphs = [
            g for g in model.meta_graphs if "serve" in g.meta_info_def.tags
        ]
        found = described("", 0, graphs[0].signature_def).signatures
    except (message.DecodeError, IndexError, OSError) as error:
        raise ServingError(
            f"{path} is damaged or has no graph for serving: {error}. Export "
            "it again, or label another version."
        ) from error
    if "serving_default" not in found:
        raise ServingError(
            f"{version} has no signature serving_default, which clients use "
            f"first. It has {', '.join(sorted(found)) or 'none'}."
        )
    return found


def _check_batches(export, number, signatures):
    """The server joins requests along the first axis, which must be open."""
    for name, signature in signatures.items():
        columns = {**signature.inputs, **signature.outputs}
        for alias, column in columns.items():
            if column.shape is not None and column.shape[:1] != (-1,):
                raise ServingError(
                    "batching joins requests along the first axis, which must "
                    f"be open. Received: {export.name}, version {number}, "
                    f"signature {name}: {alias} of shape {list(column.shape)}. "
                    "Export it with an open axis."
                )


def _of_several_sizes(signatures):
    """The signatures that take rows of any size, which fit no common batch."""
    return {
        name
        for name, signature in signatures.items()
        if any(-1 in (c.shape or ())[1:] for c in signature.inputs.values())
    }


def _on_warm_up(export, number, batch_sizes):
    path = export.folder / str(number) / WARM_UP
    card = exports.card(export.folder, number)
    about = card.get("warm_up")
    if not path.is_file():
        # A detector or a search model has a kind, and an exporter without it.
        way_out = " Export with --warmup_images."
        if "kind" in card:
            way_out = " Send it some images first."
        return [
            f"Version {number} of {export.name} has no warm-up: its first "
            f"answers will be late.{way_out}"
        ]
    if not isinstance(about, dict):
        return []
    if about.get("records", 0) > _MOST_RECORDS:
        raise ServingError(
            f"{path} must have at most {_MOST_RECORDS:,} records. Received: "
            f"{about['records']:,}. Export it again."
        )
    cold = sorted(set(batch_sizes) - set(about.get("batch_sizes", ())))
    if cold:
        return [
            f"Version {number} of {export.name} is not warmed up for batches "
            f"of {', '.join(map(str, cold))}: those first answers will be late."
        ]
    return []
