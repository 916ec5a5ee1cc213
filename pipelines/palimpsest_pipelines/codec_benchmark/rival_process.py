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

    from numpy.typing import NDArray


def main(arguments: Sequence[str]) -> int:
    """``FOLDER CUBE.npy STEP``: prints bytes, and the seconds of encoding and decoding, as JSON."""
    import imagecodecs

    from palimpsest_pipelines.codec_benchmark.rivals import RivalCodec

    folder, values, step = Path(arguments[0]), np.load(arguments[1]), float(arguments[2])
    rival = RivalCodec.at(folder)
    plain, last, inside = imagecodecs.jpeg2k_decode, _now(), np.zeros(2)

    def timed(*given: Any, **named: Any) -> Any:  # noqa: ANN401 # a foreign function's own
        nonlocal last, inside
        start = _now()
        out = plain(*given, **named)
        last = _now()
        inside = inside + last - start
        return out

    imagecodecs.jpeg2k_decode = timed
    start = _now()
    size, _ = rival.module.pca_jpeg2000(values, step)
    end = _now()
    decode = inside + end - last
    encode = end - start - decode
    told = {
        "bytes": int(size), "encode_s": encode[0], "decode_s": decode[0], "encode_cpu_s": encode[1],
        "decode_cpu_s": decode[1],
    }
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


def _now() -> NDArray[np.float64]:
    """Seconds of the clock on the wall and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
