"""Quick Muon: its polynomials on singular values, its momentum and decay, its place beside AdamW."""

import pytest
import torch

from dailymae_hf.errors import RecipeError
from dailymae_hf.training.quick_muon import POLAR_EXPRESS, QuickMuon, orthogonalized


def _expected(matrix: torch.Tensor) -> torch.Tensor:
    """Both polynomials on the singular values, in float64."""
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    values = values / (1.01 * values.norm() + 1e-7)
    for a, b, c in POLAR_EXPRESS:
        values = a * values + b * values**3 + c * values**5
    return left @ values.diag() @ right


@pytest.mark.parametrize("shape", [(24, 24), (24, 96)])
def test_singular_values_go_through_both_polynomials(shape: tuple[int, int]):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    for matrix, result in zip(matrices, orthogonalized(matrices), strict=True):
        torch.testing.assert_close(result.double(), _expected(matrix), atol=1e-4, rtol=1e-3)
    in_bfloat16 = orthogonalized(matrices.bfloat16())
    for matrix, result in zip(matrices, in_bfloat16, strict=True):
        assert (result.double() - _expected(matrix)).norm() < 0.06 * _expected(matrix).norm()


def test_a_step_is_the_formula_for_every_shape():
    generator = torch.Generator().manual_seed(0)
    shapes = [(16, 16), (64, 16), (16, 64), (16, 16)]
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    before = [weight.detach().clone() for weight in weights]
    gradients = [[torch.randn(shape, generator=generator) for shape in shapes] for _ in range(2)]
    optimizer = QuickMuon(weights, lr=0.1, weight_decay=0.5, momentum=0.9)
    for step in gradients:
        for weight, gradient in zip(weights, step, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()
    for number, (weight, start) in enumerate(zip(weights, before, strict=True)):
        mean, expected = torch.zeros_like(start), start.double()
        for gradient in (step[number] for step in gradients):
            mean = 0.9 * mean + 0.1 * gradient
            update = _expected(0.9 * mean + 0.1 * gradient)
            expected = expected * (1 - 0.1 * 0.5) - 0.1 * 0.2 * max(start.shape) ** 0.5 * update
        moved = (expected - start).norm()
        assert (weight.detach().double() - expected).norm() < 0.06 * moved


def test_a_matrix_without_a_gradient_stays():
    weights = [torch.nn.Parameter(torch.randn(8, 8)) for _ in range(2)]
    still = weights[1].detach().clone()
    weights[0].grad = torch.randn(8, 8)
    QuickMuon(weights, lr=0.1, weight_decay=0.5).step()
    assert torch.equal(weights[1], still)


def test_sharded_matrices_are_refused():
    """Stacked, the parts of sharded matrices would be made orthogonal each for itself, and the run would not learn."""
    weight = torch.nn.Parameter(torch.randn(8, 8))
    weight.grad = torch.randn(8, 8)
    weight.to_local = lambda: weight  # what a DTensor has
    with pytest.raises(RecipeError, match="quick_muon"):
        QuickMuon([weight], lr=0.1).step()
