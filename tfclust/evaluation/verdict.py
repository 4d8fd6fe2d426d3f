"""What figures side by side mean, in a sentence."""

_LABELS = {"untrained": "the untrained network", "pixels": "raw pixels"}


def of_knn(results):
    """A sentence on the trained network, or None without others beside it.

    Args:
      results: `{backbone: figures}` of kNN, each with `top1` and its
        `top1_interval`.
    """
    others = _others(results, "top1")
    if not others:
        return None
    top1 = results["trained"]["top1"]
    least, most = results["trained"]["top1_interval"]
    name, best = others[0]
    told = (
        f"An image's most similar ones are of its own class for {top1:.1%} of "
        f"the test images, and for {best:.1%} by {_LABELS.get(name, name)}: "
    )
    if least > best:
        return told + "the network has learnt what tells these classes apart."
    if most >= best and top1 > dict(others).get("untrained", 0.0):
        return told + "no clear difference here; the other lines say more."
    return told + (
        "nothing that tells these classes apart has been learnt so far. Train "
        "longer (--minutes, in another workdir); with fewer than a thousand "
        "images, start from published weights (--init_from, docs/backbones.md)."
    )


def of_clusters(results):
    """A sentence on groups of the trained network's features, or None.

    Args:
      results: `{backbone: figures}` of the clusters, each with `ami` and
        `num_clusters`.
    """
    others = _others(results, "ami")
    if not others:
        return None
    name, best = others[0]
    trained = results["trained"]
    return (
        f"{trained['num_clusters']} groups of similar images agree with the "
        f"classes by {trained['ami']:.2f}, and by {best:.2f} with "
        f"{_LABELS.get(name, name)} (AMI: 1 is perfect, 0 chance)."
    )


def _others(results, figure):
    """`[(backbone, figure)]` of what has learnt nothing, the best first.

    Empty without a trained network beside them.
    """
    if "trained" not in results:
        return []
    found = [(n, of[figure]) for n, of in results.items() if n != "trained"]
    return sorted(found, key=lambda one: -one[1])
