"""What runs TensorFlow, always in a process of its own: training, and conversion, which can crash it.

TensorFlow and a TFLite runtime do not share a process (loading both breaks the second), so the worker knows neither
bundles nor scorers: it reads a plan and arrays from a folder and writes models and arrays there.

usage: python -m attwin_converter.keras_worker fit|model|tune|convert|sketch|examine FOLDER

Exits with REFUSED where the model has to change; the last line on stderr says why.
"""

import sys
from pathlib import Path

from attwin_converter import converting, examining, fitting

REFUSED = 65


def tune(folder: Path) -> None:
    """Fine-tune a model; its layers need Keras to be defined."""
    from attwin_converter import fake_quantisation  # noqa: PLC0415 -- see above

    fake_quantisation.tune(folder)


STEPS = {
    "fit": fitting.fit,
    "model": fitting.fit_model,
    "tune": tune,
    "convert": converting.convert,
    "sketch": converting.sketch,
    "examine": examining.examine,
}

if __name__ == "__main__":
    try:
        STEPS[sys.argv[1]](Path(sys.argv[2]))
    except examining.ModelError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- the protocol with the parent
        sys.exit(REFUSED)
