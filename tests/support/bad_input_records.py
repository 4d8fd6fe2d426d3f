"""TFRecord files that are none: `CASES`, read at random and as a stream."""

import gzip

from tests.support.bad_bytes import (
    LABEL,
    LENGTH_AT,
    example,
    flipped,
    framed,
    good,
    picture,
)
from tests.support.bad_input import Cases

CASES = Cases()
file = CASES.file

# Records.

R = "tfrecord:{}/file"
S = "tfrecord_stream:{}/file?window=16"
EXAMPLES = "records must be tf.train.Examples with one image/encoded"
for kind, U in (("", R), ("a stream: ", S)):
    file(f"{kind}raw JPEGs", U, lambda: framed(picture("JPEG")), EXAMPLES)
    file(f"{kind}raw PNGs", U, lambda: framed(*[picture()] * 9), EXAMPLES)
    file(f"{kind}empty records", U, lambda: framed(b"", b""), EXAMPLES)
    file(f"{kind}records of zeros", U, lambda: framed(bytes(99)), EXAMPLES)
    file(f"{kind}records of text", U, lambda: framed(b"words"), EXAMPLES)
    file(f"{kind}an empty file", U, b"", "empty")
    file(
        f"{kind}a JPEG file",
        U,
        lambda: picture("JPEG"),
        "not a complete TFRecord",
    )
    file(f"{kind}zeros", U, bytes(4096), "not a complete TFRecord.*checksum")
    file(f"{kind}text", U, b"a,b,c\n" * 99, "not a complete TFRecord")
    file(f"{kind}no JPEG", U, lambda: framed(example(image=b"x")), "not a read")
    file(f"{kind}cut off", U, lambda: good()[:-9], "not a complete TFRecord")
    file(
        f"{kind}cut in a head",
        U,
        lambda: good() + bytes(5),
        "not a complete TFRec",
    )
    file(
        f"{kind}labels that are floats",
        U,
        lambda: framed(example(image=picture(), label=1.5)),
        rf"{EXAMPLES}.*{LABEL} \(float\)",
    )
    file(
        f"{kind}labels that are text",
        U,
        lambda: framed(example(image=picture(), label=b"cat")),
        rf"{EXAMPLES}.*{LABEL} \(bytes\)",
    )
    file(
        f"{kind}two labels an image",
        U,
        lambda: framed(example(image=picture(), label=[1, 2])),
        rf"{EXAMPLES}.*{LABEL} \(2 int64\)",
    )
    file(
        f"{kind}images that are numbers",
        U,
        lambda: framed(example(image=[1, 2, 3])),
        rf"{EXAMPLES}.*image/encoded \(3 int64\)",
    )
    file(
        f"{kind}two images a record",
        U,
        lambda: framed(example(image=[picture()] * 2)),
        rf"{EXAMPLES}.*image/encoded \(2 bytes\)",
    )
    file(f"{kind}no image", U, lambda: framed(example(label=1)), EXAMPLES)
    file(
        f"{kind}images of no bytes",
        U,
        lambda: framed(example(image=b"")),
        EXAMPLES,
    )
    file(
        f"{kind}features with escapes",
        U,
        lambda: framed(example(**{"a\x1b\n": 1})),
        r"features a\\x1b\\n \(int64\)",
    )
    for claimed in (2**31, 2**40, 2**63, 2**64 - 1):
        file(
            f"{kind}a record of {claimed:.0e} bytes",
            U,
            lambda n=claimed: framed(picture(), claimed=n),
            "not a complete TFRecord",
        )
        file(
            f"{kind}packed, a record of {claimed:.0e} bytes",
            U,
            lambda n=claimed: gzip.compress(framed(picture(), claimed=n)),
            "not a complete TFRecord",
        )
    file(
        f"{kind}a length's bit turned",
        U,
        lambda: flipped(good(), 1),
        "not a complete TFRecord.*record 0.*checksum",
    )
    file(
        f"{kind}a length's checksum turned",
        U,
        lambda: flipped(good(), LENGTH_AT),
        "not a complete TFRecord.*record 0.*checksum",
    )
    file(
        f"{kind}one record, a bit turned",
        U,
        lambda: flipped(good(1), 20),
        "damaged: its checksum does not match",
    )
    file(
        f"{kind}gzip cut off",
        U,
        lambda: gzip.compress(good())[:-20],
        "damaged or truncated gzip|not a complete TFRecord",
    )
    file(
        f"{kind}gzip of its first bytes",
        U,
        b"\x1f\x8b",
        "damaged or truncated gzip|not a complete TFRecord",
    )
    file(
        f"{kind}gzip of another method",
        U,
        lambda: flipped(gzip.compress(good()), 2),
        "damaged or truncated gzip|not a complete TFRecord",
    )
    file(
        f"{kind}gzip with a bit turned",
        U,
        lambda: flipped(gzip.compress(good()), 60),
        "damaged or truncated gzip|not a complete TFRecord",
    )
    file(
        f"{kind}gzip in gzip",
        U,
        lambda: gzip.compress(gzip.compress(good())),
        "not a complete TFRecord",
    )
    file(f"{kind}gzip of nothing", U, gzip.compress(b""), "empty")
