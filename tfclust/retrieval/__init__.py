"""How well rows find images: descriptors, ground truth and rankings.

`export.retrieval.evaluate` measures SavedModels with these rules, and the
protocol `retrieval` of `tfclust.evaluate` runs. They know no method.
"""
