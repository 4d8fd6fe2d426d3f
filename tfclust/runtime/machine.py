"""The words for where a run computes, of which `devices` makes something."""

STRATEGIES = ("auto", "one", "mirrored", "multi_worker")
PRECISIONS = {
    "none": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}
