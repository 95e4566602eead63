"""Make torchvision's PyPI wheel importable with a CPU build of torch.

The wheel is compiled against CUDA, so its operators cannot be loaded, and `import torchvision` fails on the first one that it
mentions ("operator torchvision::nms does not exist"). CLIP calls none of them, so declaring their schemas is enough.
tests/integration/test_open_clip.py fails when this is no longer needed.
"""

from importlib.util import find_spec
from pathlib import Path

import torch

OPERATOR_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_declared: list[torch.library.Library] = []  # the declarations of a library live as long as the object


def declare_operators() -> None:
    """Declare the operators if torch is a CPU build and torchvision's own library cannot be loaded. Call this before importing
    torchvision.
    """
    if torch.version.cuda is not None or _declared or _load_own_library():
        return
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name, schema in OPERATOR_SCHEMAS.items():
        library.define(name + schema)  # type: ignore[no-untyped-call]
    _declared.append(library)


def _load_own_library() -> bool:
    spec = find_spec("torchvision")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in [*Path(folder).glob("_C*.so"), *Path(folder).glob("_C*.pyd")]:
            try:
                torch.ops.load_library(path)  # type: ignore[no-untyped-call]
            except OSError:
                continue
            return True
    return False
