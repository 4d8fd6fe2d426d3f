"""What kNN figures side by side mean, in a sentence."""

_LABELS = {"untrained": "the untrained network", "pixels": "raw pixels"}


def of_knn(results):
    """A sentence on the trained network, or None without others beside it.

    Args:
      results: `{backbone: figures}` of kNN, each with `top1` and its
        `top1_interval`.
    """
    others = {n: f["top1"] for n, f in results.items() if n != "trained"}
    if "trained" not in results or not others:
        return None
    top1 = results["trained"]["top1"]
    least, most = results["trained"]["top1_interval"]
    best = max(others, key=lambda name: others[name])
    told = (
        f"An image's most similar ones are of its own class for {top1:.1%} of "
        f"the test images, and for {others[best]:.1%} by "
        f"{_LABELS.get(best, best)}: "
    )
    if least > others[best]:
        return told + "the network has learnt what tells these classes apart."
    if most >= others[best] and top1 > others.get("untrained", 0.0):
        return told + "no clear difference here; the other lines say more."
    return told + (
        "nothing that tells these classes apart has been learnt so far. Train "
        "longer (--minutes); with fewer than a thousand images, start from "
        "published weights (--init_from, docs/backbones.md)."
    )
