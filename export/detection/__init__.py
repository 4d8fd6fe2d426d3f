"""A detector on a trained backbone: RetinaNet by KerasHub.

`annotated` reads images with boxes (`voc`, `coco`, from `places`), `jitter` and
`batches` bring them to one size, `network` builds the detector, `losses` and
`training` train it (`state` is what is on the disk), `predictions` and
`mean_ap` measure it, `saving` writes the SavedModel. The commands are
`train_detector` and `detect`.

Boxes are float `[n, 4]`: left, top, right, bottom in pixels, where 0, 0 is the
corner of the first pixel and the right edge of an image of W pixels is W.
"""
