"""Convolutions of few voxels as products: torch's own, with its gradients."""

from __future__ import annotations

import pytest
import torch

from ricenet.training.few_voxels import product_convolution


def test_of_one_voxel_only_the_middle_of_the_kernel_counts() -> None:
    kernel = torch.arange(27.0).view(1, 1, 3, 3, 3)
    one = torch.full((1, 1, 1, 1, 1), 2.0)
    assert product_convolution(one, kernel, (1, 1, 1), (1, 1, 1)).item() == 2 * 13


@pytest.mark.parametrize(
    ("shape", "size", "stride", "padding"),
    [
        ((1, 1, 1), 3, 1, 1),
        ((2, 2, 2), 3, 1, 1),
        # a stage's first layer halves the map, and its shortcut sees every second voxel
        ((2, 2, 2), 3, 2, 1),
        ((2, 2, 2), 1, 2, 0),
        ((2, 1, 2), 3, 2, 1),
        ((1, 2, 4), 3, 1, 1),
        ((2, 2, 2), 5, 1, 2),
    ],
)
def test_the_product_is_torchs_convolution_with_the_same_gradients(
    shape: tuple[int, int, int], size: int, stride: int, padding: int
) -> None:
    noise = torch.Generator().manual_seed(0)
    values = torch.randn(3, 4, *shape, generator=noise, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(5, 4, *(size,) * 3, generator=noise, dtype=torch.float64)
    kernel = kernel.contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    expected = torch.nn.functional.conv3d(values, kernel, stride=stride, padding=padding)
    found = product_convolution(values, kernel, (stride,) * 3, (padding,) * 3)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn(expected.shape, generator=noise, dtype=torch.float64)
    gradients = torch.autograd.grad(found, (values, kernel), upstream)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, (values, kernel), upstream))
    assert gradients[1].stride() == kernel.stride()
