"""SwAV's step in plain PyTorch, a worker beside ours for `bench_torch.py`.

ResNet-50 as He et al. 2016 have it (arXiv:1512.03385, table 1), with the stride
in the 3x3 convolution as tfclust's; SwAV's projector and prototypes, three
Sinkhorn iterations, cross-entropy, SGD with momentum and L2. Needs PyTorch and
nothing else, and knows nothing of tfclust.
"""

import argparse
import time

import torch
from torch import nn
from torch.nn import functional
from workers import serve

RATE, MOMENTUM, DECAY = 0.01, 0.9, 1e-6
TEMPERATURE, EPSILON, NUM_ITERS = 0.1, 0.05, 3
HIDDEN, WIDTH = 2048, 128
DEPTHS = (3, 4, 6, 3)
MEAN, STD = (0.485, 0.456, 0.406), (0.228, 0.224, 0.225)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--num_clusters", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--channels_last", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    serve(
        stepper(options),
        {"torch": torch.__version__, "threads": torch.get_num_threads()},
        time.process_time,
    )


def stepper(options):
    """A function that takes a step on one fixed batch of two views."""
    memory_format = (
        torch.channels_last
        if options.channels_last
        else torch.contiguous_format
    )
    network = nn.Sequential(resnet50(), projector()).to(
        memory_format=memory_format
    )
    prototypes = nn.Linear(WIDTH, options.num_clusters, bias=False)
    optimizer = torch.optim.SGD(
        [*network.parameters(), *prototypes.parameters()],
        lr=RATE,
        momentum=MOMENTUM,
        weight_decay=DECAY,
    )
    shape = (2 * options.batch, 3, options.size, options.size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
    pixels = pixels.to(memory_format=memory_format)
    mean, std = (torch.tensor(x)[:, None, None] for x in (MEAN, STD))

    def step():
        images = (pixels.float() / 255 - mean) / std
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
            rows = network(images)
        scores = prototypes(functional.normalize(rows.float()))
        first, second = scores.chunk(2)
        codes = [balanced_codes(view.detach()) for view in (first, second)]
        loss = cross_entropy(second, codes[0]) + cross_entropy(first, codes[1])
        optimizer.zero_grad()
        (loss / 2).backward()
        optimizer.step()
        with torch.no_grad():
            kernel = prototypes.weight
            kernel.copy_(functional.normalize(kernel))
        return loss.item()

    return step


def cross_entropy(scores, codes):
    log_probs = functional.log_softmax(scores / TEMPERATURE, dim=1)
    return -(codes * log_probs).sum(dim=1).mean()


def balanced_codes(scores):
    """SwAV, algorithm 1: `[B, K]` scores to codes whose rows sum to 1."""
    codes = torch.exp(scores / EPSILON)
    rows, columns = codes.shape
    for _ in range(NUM_ITERS):
        codes /= codes.sum(dim=0, keepdim=True) * columns
        codes /= codes.sum(dim=1, keepdim=True) * rows
    return codes * rows


def projector():
    return nn.Sequential(
        nn.Linear(2048, HIDDEN),
        nn.BatchNorm1d(HIDDEN),
        nn.ReLU(inplace=True),
        nn.Linear(HIDDEN, WIDTH),
    )


def resnet50():
    layers = [
        *convolution_norm(3, 64, 7, stride=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    width = 64
    for stage, depth in enumerate(DEPTHS):
        channels = 64 * 2**stage
        for index in range(depth):
            stride = 2 if stage and not index else 1
            layers.append(Bottleneck(width, channels, stride))
            width = 4 * channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 up to four times, beside a shortcut."""

    def __init__(self, width, channels, stride):
        super().__init__()
        self.branch = nn.Sequential(
            *convolution_norm(width, channels, 1),
            nn.ReLU(inplace=True),
            *convolution_norm(channels, channels, 3, stride=stride),
            nn.ReLU(inplace=True),
            *convolution_norm(channels, 4 * channels, 1),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or width != 4 * channels:
            self.shortcut = nn.Sequential(
                *convolution_norm(width, 4 * channels, 1, stride=stride)
            )

    def forward(self, x):
        return functional.relu(self.branch(x) + self.shortcut(x), inplace=True)


def convolution_norm(width, filters, size, stride=1):
    return (
        nn.Conv2d(width, filters, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(filters),
    )


if __name__ == "__main__":
    main()
