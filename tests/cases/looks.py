"""Exit with 1 where an image is decoded, and does not look like its twin; a refusal with a reason is right.

python looks.py DECODER_FOLDER ODD PLAIN [ODD PLAIN ...]
"""

import sys

import numpy as np

sys.path.insert(0, sys.argv[1])
from decoder import read

wrong = False
for odd, plain in zip(sys.argv[2::2], sys.argv[3::2], strict=True):
    one, two = read(odd, 224), read(plain, 224)
    if isinstance(one, str):
        print(f"{odd}: refused: {one}")  # noqa: T201
        continue
    difference = float(np.abs(one.astype(int) - two).mean())
    print(f"{odd}: mean difference {difference:.1f} of 255, expected at most 4")  # noqa: T201
    wrong = wrong or difference > 4
sys.exit(int(wrong))  # sys.exit takes NumPy's False for a message, and exits with 1
