"""PCA + JPEG 2000 as a process of its own, so that it can be timed as one: the rival's code, a cube, a step.

The rival encodes and decodes in one call. What its decoder takes is told apart from the outside: the time inside
JPEG 2000's decoder, and all that follows its last call (the spectra are put together there).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """``FOLDER CUBE.npy STEP``: prints bytes, and the seconds of encoding and decoding, as JSON."""
    import imagecodecs

    from palimpsest_pipelines.codec_benchmark.rivals import RivalCodec

    folder, values, step = Path(arguments[0]), np.load(arguments[1]), float(arguments[2])
    rival = RivalCodec.at(folder)
    plain, clock = imagecodecs.jpeg2k_decode, {"inside": 0.0, "last": time.perf_counter()}

    def timed(*given: Any, **named: Any) -> Any:  # noqa: ANN401 # a foreign function's own
        start = time.perf_counter()
        out = plain(*given, **named)
        clock["last"] = time.perf_counter()
        clock["inside"] += clock["last"] - start
        return out

    imagecodecs.jpeg2k_decode = timed
    start = time.perf_counter()
    size, _ = rival.module.pca_jpeg2000(values, step)
    end = time.perf_counter()
    decode = clock["inside"] + end - clock["last"]
    sys.stdout.write(json.dumps({"bytes": int(size), "encode_s": end - start - decode, "decode_s": decode}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
