"""Test images must not be those whose labels a run has learnt.

`fixed_labels` on the images' own labels is the one training that has labels. A
held-out fifth of its images, or of another run's on the same folder, would be
told by heart.
"""

from tfclust import data, evaluation
from tfclust.methods.configs.fixed_labels import SOURCE


def check_unseen(path, recipe, config, test, cache_dir, say=None):
    """Refuses test images of which a run has learnt the labels.

    Args:
      path: what the run is called, for the error.
      recipe: its `Recipe`, or None.
      config: `EvaluationConfig`, from `evaluation.for_images`.
      test: `data.Source`.
      cache_dir: folder for the checks of the run's images, or empty.
      say: called with a sentence if its images cannot be compared, or None.

    Raises:
      ValueError: if there are such images.
    """
    if recipe is None or recipe.method.labels_from != SOURCE:
        return
    if not evaluation.judging(config):
        return
    run = recipe.run
    try:
        learnt = data.open_source(
            run.data,
            max_images=run.max_images,
            cache_dir=cache_dir or run.cache_dir or None,
            max_bad_share=run.max_bad_share,
            class_shares=run.class_shares,
            imbalance=run.imbalance,
        )
    except (ValueError, OSError) as error:
        if say is not None:
            say(
                f"{path} has learnt labels of images that cannot be opened, so "
                "nothing can tell whether the test images are among them: "
                f"{error}"
            )
        return
    shared = test.num_shared(learnt)
    if shared:
        raise ValueError(
            "test_data must hold images whose labels no measured network has "
            f"learnt. Received: {test.uri}, of which {shared} of "
            f"{test.num_images} images are among those that {path} "
            f"(--method=fixed_labels --pseudo_labels={SOURCE}) has learnt "
            f"with their labels, data={learnt.uri}. Give --test_data=URI of "
            "others."
        )
