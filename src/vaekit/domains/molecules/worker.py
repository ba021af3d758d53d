"""A process that converts SMILES to tokens: `python -m vaekit.domains.molecules.worker CODEC STEREO FRAGMENTS`.

It reads lists of SMILES from stdin, one JSON array per line, and answers each with a line: for each SMILES a list of
tokens, or the reason as a text. It ends with its input, so that it does not outlive the process that started it; that
one alone handles Ctrl-C.
"""

import json
import os
import signal
import sys

from vaekit.domains.molecules.chemistry import Normalization
from vaekit.domains.molecules.codecs import encode


def convert(text: str, codec: str, normal: Normalization) -> list[str] | str:
    """The tokens of SMILES, or the reason why there are none."""
    try:
        return encode(text, codec, normal)
    except ValueError as error:
        return str(error)


def serve(codec: str, normal: Normalization) -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print
    for line in sys.stdin:
        answers.write(json.dumps([convert(text, codec, normal) for text in json.loads(line)]) + "\n")
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(sys.argv[1], Normalization(sys.argv[2] == "True", sys.argv[3]))
    except OSError:  # the other process has ended
        os._exit(0)
