"""MaskAttn-UNet (paper Secs. 3.1, 3.2, 4.1): a U-Net with a mask attention module at every scale.

The text says four stages, Figure 1 draws nine modules, and Appendix B.3 names six, att1 to att6 (AUDIT A19). This is
the reading that B.3 and Table 9 fit: channels 64, 128, 256, 256, three modules down, three up.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.attention import MaskAttention
from models.blocks import DoubleConv, Up
from models.categories import Categories
from models.pixel_model import PixelModel


class MaskAttnUNet(nn.Module):
    """(B, 3, H, W) -> (B, width, H, W). At 128x128: att1 at 64x64, att2 32x32, att3 16x16, up to att6 at 128x128."""

    stride = 8

    def __init__(self, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        w1, w2, w3, w4 = width, 2 * width, 4 * width, 4 * width
        self.out_channels = w1
        self.stem = DoubleConv(3, w1)
        self.down1, self.down2, self.down3 = DoubleConv(w1, w2), DoubleConv(w2, w3), DoubleConv(w3, w4)
        self.att1, self.att2, self.att3 = (MaskAttention(channels, heads) for channels in (w2, w3, w4))
        self.bottleneck = nn.Sequential(DoubleConv(w4, 2 * w4), DoubleConv(2 * w4, w4))
        self.up1, self.up2, self.up3 = Up(w4, w3, w2), Up(w2, w2, w1), Up(w1, w1, w1)
        self.att4, self.att5, self.att6 = (MaskAttention(channels, heads) for channels in (w2, w1, w1))

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.stem(x)
        x2 = self.att1(self.down1(F.max_pool2d(x1, 2)))
        x3 = self.att2(self.down2(F.max_pool2d(x2, 2)))
        x4 = self.att3(self.down3(F.max_pool2d(x3, 2)))
        y = self.bottleneck(x4)
        y = self.att4(self.up1(y, x3))
        y = self.att5(self.up2(y, x2))
        y = self.att6(self.up3(y, x1))
        return y


def maskattn_unet(categories: Categories, size: tuple[int, int], *, width: int, heads: int) -> PixelModel:
    return PixelModel(MaskAttnUNet(width, heads), categories, size, "maskattn-unet")
