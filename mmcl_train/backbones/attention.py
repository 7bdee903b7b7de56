"""The two one-channel convolutions that MS-AAGCN and the multi-granular network gate feature maps with."""

from __future__ import annotations

from torch import nn


class JointConv(nn.Conv1d):
    """(N, C, V) → (N, 1, V): a convolution as wide as the skeleton, in storage order of the joints.

    The kernel is V, or V - 1 where V is even, so that the padding is the same on both sides.
    """

    def __init__(self, channels: int, num_joints: int) -> None:
        kernel = num_joints if num_joints % 2 else num_joints - 1
        super().__init__(channels, 1, kernel, padding=(kernel - 1) // 2)
        nn.init.xavier_normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class TimeConv(nn.Conv1d):
    """(N, C, T) → (N, 1, T): nine frames wide; starts at zero, so that its gate starts open by half."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1, 9, padding=4)
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
