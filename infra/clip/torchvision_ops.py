"""A cure for torchvision's PyPI wheel beside a CPU build of torch.

That wheel is compiled against CUDA, so its operators cannot load, and `import torchvision` dies on the first one it names
("operator torchvision::nms does not exist"). CLIP calls none of them: declaring their schemas is enough.
tests/integration/test_open_clip.py fails on the day that this is no longer needed.
"""

from importlib.util import find_spec
from pathlib import Path

import torch

OPERATOR_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_declared: list[torch.library.Library] = []  # a library's declarations live as long as the object does


def declare_operators() -> None:
    """Declare the operators if torch is a CPU build and torchvision's own library cannot load. To be called before its import."""
    if torch.version.cuda is not None or _declared or _load_own():
        return
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name, schema in OPERATOR_SCHEMAS.items():
        library.define(name + schema)  # type: ignore[no-untyped-call]
    _declared.append(library)


def _load_own() -> bool:
    spec = find_spec("torchvision")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in [*Path(folder).glob("_C*.so"), *Path(folder).glob("_C*.pyd")]:
            try:
                torch.ops.load_library(path)  # type: ignore[no-untyped-call]
            except OSError:
                continue
            return True
    return False
