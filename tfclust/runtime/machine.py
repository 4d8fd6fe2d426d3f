"""The names for where a run computes; `devices` turns them into objects."""

STRATEGIES = ("auto", "one", "mirrored", "multi_worker")
PRECISIONS = {
    "none": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}
