"""Our own image tower. It is registered in timm, so that an open_clip configuration can name it (models/mapseek-small.json).

It is a residual CNN that gets the picture twice: as it is, and with each channel normalised to mean 0 and deviation 1, which
another light or colour cast does not change. The head gets a 3x3 layout beside the global mean, since a mean alone has no
positions.
"""

from typing import Any

import torch
from timm.models import register_model
from torch import nn

WIDTHS = (24, 48, 96, 192)
"""Channels at 1/2, 1/4, 1/8 and 1/16 of the input's side."""

BLOCKS = (0, 1, 2, 2)
"""Residual blocks at each of those sizes."""

LAYOUT_CELLS = 3
"""Cells of the layout across and down."""

LAYOUT_CHANNELS = 64
"""Channels of the layout."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, added to the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_convolution(width, width), nn.ReLU(inplace=True), _convolution(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu(x + self.layers(x))


class SmallTower(nn.Module):
    """Turns normalised pictures (n, 3, side, side) into vectors (n, num_classes).

    The names of the attributes are keys of the saved weights.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.seen = nn.InstanceNorm2d(3, eps=1e-3)
        layers: list[nn.Module] = []
        before = 6
        for width, blocks in zip(WIDTHS, BLOCKS, strict=True):
            layers += [_convolution(before, width, stride=2), nn.ReLU(inplace=True), *(ResidualBlock(width) for _ in range(blocks))]
            before = width
        self.trunk = nn.Sequential(*layers)
        self.layout = nn.Sequential(
            nn.Conv2d(before, LAYOUT_CHANNELS, 1, bias=False), nn.BatchNorm2d(LAYOUT_CHANNELS), nn.ReLU(inplace=True)
        )
        self.head = nn.Linear(before + LAYOUT_CHANNELS * LAYOUT_CELLS * LAYOUT_CELLS, num_classes, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.trunk(torch.cat((x, self.seen(x)), 1))
        layout = nn.functional.adaptive_avg_pool2d(self.layout(features), LAYOUT_CELLS).flatten(1)
        vectors: torch.Tensor = self.head(torch.cat((features.mean((2, 3)), layout), 1))
        return vectors


@register_model
def mapseek_small(num_classes: int = 512, **_: Any) -> SmallTower:
    """Build the tower that models/mapseek-small.json names. timm's other arguments (pooling, weights) are not used."""
    return SmallTower(num_classes)


def _convolution(before: int, after: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after))
