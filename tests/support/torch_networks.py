"""The published networks in PyTorch, as their papers describe them.

Only what inference needs; names of modules are those of the checkpoints, so
that `load_state_dict(strict=True)` checks the names in `published` too.
"""

import torch
from torch import nn

from tests.support import published


class Block(nn.Module):
    """A residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1."""

    def __init__(self, before, channels, after, stride, deep):
        super().__init__()
        sizes = (1, 3, 1) if deep else (3, 3)
        inputs = (before, channels, channels)
        outputs = (channels, channels, after) if deep else (channels, after)
        where = 1 if deep else 0  # the stride is the first 3x3's
        self.count = len(sizes)
        for i, size in enumerate(sizes):
            conv = nn.Conv2d(
                inputs[i],
                outputs[i],
                size,
                stride if i == where else 1,
                size // 2,
                bias=False,
            )
            setattr(self, f"conv{i + 1}", conv)
            setattr(self, f"bn{i + 1}", nn.BatchNorm2d(outputs[i]))
        self.downsample = None
        if stride > 1 or before != after:
            conv = nn.Conv2d(before, after, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(after))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.count + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            x = torch.relu(x if i < self.count else x + shortcut)
        return x


class ResNet(nn.Module):
    """He et al. 2016, the stride in the 3x3 convolution; and SwAV's head."""

    def __init__(self, name, *, width=1, stem=7, head=None):
        super().__init__()
        deep = name == "resnet50"
        channels = before = 64 * width
        self.small = stem == 3
        stride = 1 if self.small else 2
        self.conv1 = nn.Conv2d(3, channels, stem, stride, stem // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        for stage, depth in enumerate(published.DEPTHS[name], start=1):
            after, blocks = channels * (4 if deep else 1), []
            for block in range(depth):
                stride = 2 if stage > 1 and block == 0 else 1
                blocks.append(Block(before, channels, after, stride, deep))
                before = after
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            channels *= 2
        if head is not None:
            hidden, projection, prototypes = head
            self.projection_head = nn.Sequential(
                nn.Linear(before, hidden),
                nn.BatchNorm1d(hidden),
                nn.ReLU(),
                nn.Linear(hidden, projection),
            )
            self.prototypes = nn.Linear(projection, prototypes, bias=False)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        if not self.small:
            x = nn.functional.max_pool2d(x, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean((2, 3))

    def scores(self, features):
        """Unit projections, and their cosines with the prototypes."""
        units = nn.functional.normalize(self.projection_head(features))
        directions = nn.functional.normalize(self.prototypes.weight)
        return units, units @ directions.T


class Plain(nn.Module):
    """DeepCluster's AlexNet and VGG16 up to fc7, before its ReLU."""

    def __init__(self, name, *, places, sobel):
        super().__init__()
        before, layers = 2 if sobel else 3, []
        alexnet = name == "alexnet"
        table = published.ALEXNET if alexnet else published.VGG16
        for number, entry in table.items():
            outputs, size = entry if alexnet else (entry, 3)
            if len(layers) < number:
                layers.append(nn.MaxPool2d(3 if alexnet else 2, 2))
            stride, border = (4, 2) if size == 11 else (1, size // 2)
            layers += [
                nn.Conv2d(before, outputs, size, stride, border),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            before = outputs
        layers.append(nn.MaxPool2d(3 if alexnet else 2, 2))
        self.features = nn.Sequential(*layers)
        first = nn.Linear(before * places, 4096)
        dense = [first, nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096)]
        self.classifier = nn.Sequential(
            *([nn.Dropout()] if alexnet else []), *dense
        )
        self.sobel = None
        if sobel:
            self.sobel = nn.Sequential(
                nn.Conv2d(3, 1, 1), nn.Conv2d(1, 2, 3, padding=1)
            )

    def forward(self, x):
        x = x if self.sobel is None else self.sobel(x)
        return self.classifier(self.features(x).flatten(1))


def outputs(network, arrays, images, image_std):
    """Features `[B, F]` of images `[B, H, W, 3]` in [0, 1], as an array.

    Args:
      network: one of the above; loses its random weights.
      arrays: `{name: ndarray}` of the checkpoint.
      images: float32 array.
      image_std: three floats.
    """
    state = {name: torch.as_tensor(array) for name, array in arrays.items()}
    network.load_state_dict(state, strict=True)
    network.eval()
    mean = torch.tensor([0.485, 0.456, 0.406])
    x = (torch.as_tensor(images) - mean) / torch.tensor(image_std)
    with torch.no_grad():
        return network(x.permute(0, 3, 1, 2)).numpy()
