"""CTR-GCN written out as the paper states it, under the published names: what ours is compared with.

Every subset and every temporal branch is its own module; relations are taken before the mean over time. Not
registered: tests hold ours to it, and `mmcl-train bench` measures both.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Module):
    """A k×1 convolution that keeps T, and batch norm."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        padding = (dilation * (kernel - 1) // 2, 0)
        self.conv = nn.Conv2d(in_channels, out_channels, (kernel, 1), (stride, 1), padding, (dilation, 1))
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class Subset(nn.Module):
    """One subset's topology (equation 5 to 7) and its graph product."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        relation = 8 if in_channels < 8 else in_channels // 8
        self.conv1 = nn.Conv2d(in_channels, relation, 1)
        self.conv2 = nn.Conv2d(in_channels, relation, 1)
        self.conv3 = nn.Conv2d(in_channels, out_channels, 1)
        self.conv4 = nn.Conv2d(relation, out_channels, 1)

    def forward(self, x: Tensor, adjacency: Tensor, alpha: Tensor) -> Tensor:
        query, key = self.conv1(x).mean(dim=2), self.conv2(x).mean(dim=2)
        refined = self.conv4(torch.tanh(query[:, :, :, None] - key[:, :, None, :]))
        return torch.einsum("ncuv,nctv->nctu", alpha * refined + adjacency, self.conv3(x))


class GraphUnit(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, joints: int) -> None:
        super().__init__()
        self.PA = nn.Parameter(torch.zeros(3, joints, joints))
        self.alpha = nn.Parameter(torch.zeros(1))
        self.convs = nn.ModuleList(Subset(in_channels, out_channels) for _ in range(3))
        self.bn = nn.BatchNorm2d(out_channels)
        self.down: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.down = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        total = sum(subset(x, self.PA[k], self.alpha) for k, subset in enumerate(self.convs))
        return F.relu(self.bn(total) + self.down(x))


class TemporalUnit(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        size = channels // 4
        self.branches = nn.ModuleList()
        for dilation in (1, 2):
            layers = [nn.Conv2d(channels, size, 1), nn.BatchNorm2d(size), nn.ReLU()]
            self.branches.append(nn.ModuleList([*layers, ConvNorm(size, size, 5, stride, dilation)]))
        pool = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        layers = [nn.Conv2d(channels, size, 1), nn.BatchNorm2d(size), nn.ReLU(), pool, nn.BatchNorm2d(size)]
        self.branches.append(nn.ModuleList(layers))
        self.branches.append(nn.ModuleList([nn.Conv2d(channels, size, 1, (stride, 1)), nn.BatchNorm2d(size)]))

    def forward(self, x: Tensor) -> Tensor:
        out = []
        for branch in self.branches:
            y = x
            for layer in branch.children():
                y = layer(y)
            out.append(y)
        return torch.cat(out, dim=1)


class Block(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int, joints: int, *, first: bool) -> None:
        super().__init__()
        self.gcn1 = GraphUnit(in_channels, out_channels, joints)
        self.tcn1 = TemporalUnit(out_channels, stride)
        self.first = first
        self.residual: nn.Module = nn.Identity()
        if not first and (in_channels != out_channels or stride != 1):
            self.residual = ConvNorm(in_channels, out_channels, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.tcn1(self.gcn1(x))
        if not self.first:
            y = y + self.residual(x)
        return F.relu(y)


class PlainCTRGCN(nn.Module):
    """(N, C, T, V, M) → logits, state dict under the published names."""

    def __init__(
        self, num_classes: int, joints: int = 25, bodies: int = 2, in_channels: int = 3, base: int = 64
    ) -> None:
        super().__init__()
        self.data_bn = nn.BatchNorm1d(bodies * in_channels * joints)
        plan = [(base, 1)] * 4 + [(2 * base, 2)] + [(2 * base, 1)] * 2 + [(4 * base, 2)] + [(4 * base, 1)] * 2
        channels = in_channels
        for number, (width, stride) in enumerate(plan, start=1):
            setattr(self, f"l{number}", Block(channels, width, stride, joints, first=number == 1))
            channels = width
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, joints: Tensor) -> Tensor:
        n, c, t, v, m = joints.shape
        x = self.data_bn(joints.permute(0, 4, 3, 1, 2).reshape(n, m * v * c, t))
        x = x.reshape(n, m, v, c, t).permute(0, 1, 3, 4, 2).reshape(n * m, c, t, v)
        for number in range(1, 11):
            x = getattr(self, f"l{number}")(x)
        return self.fc(x.reshape(n, m, x.shape[1], -1).mean(dim=3).mean(dim=1))
