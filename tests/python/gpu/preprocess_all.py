"""Every kernel of the preprocessing, on shapes with odd ends: for the sanitizer to watch."""

from __future__ import annotations

import warnings

from imagery import random_image
from on_gpu import METHODS, assert_gpu_equals_cpu
from trtfast.preprocess import Preprocess

FORMS = (
    ("rgb", "NCHW", "standard"),
    ("gray", "NHWC", "standard"),
    ("bgr", "NCHW", "min_max"),
)


def main() -> None:
    warnings.filterwarnings("ignore", message=".* does not list .* as supported")
    images = [random_image(67, 91), random_image(480, 640, 1), random_image(5, 3, 2)]
    for method in METHODS:
        for channels, layout, normalization in FORMS:
            count = 1 if channels == "gray" else 3
            for size in ((33, 47), (224, 224)):
                spec = Preprocess(
                    size=size,
                    interpolation=method,
                    channels=channels,
                    layout=layout,
                    normalization=normalization,
                    mean=(0.4,) * count,
                    std=(0.2,) * count,
                )
                assert_gpu_equals_cpu(spec, images)
                for dtype in ("float16", "bfloat16"):
                    spec.on_gpu([random_image(121, 33)], dtype=dtype).copy_to_host()
        # Rows that are too long to be staged.
        assert_gpu_equals_cpu(
            Preprocess(size=(7, 30), interpolation=method), [random_image(9, 20_000)]
        )
    print("done")


if __name__ == "__main__":
    main()
