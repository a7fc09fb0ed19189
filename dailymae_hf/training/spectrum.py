"""How many directions features use: scores of a representation that need no labels."""

import torch


def rankme(features: torch.Tensor) -> float:
    """Effective rank: exp of the entropy of the singular values scaled to sum 1 (Garrido et al. 2023, eq. 1).

    Args:
        features: (N, D), any floating dtype; centred here, as a mean that all images share is no direction of theirs.

    Returns:
        From 1, every feature on one line, to min(N - 1, D), all directions alike.
    """
    values = _variances(features).sqrt()  # the singular values, but for a common factor
    weights = values / values.sum()
    return torch.special.entr(weights).sum().exp().item()


def alpha_req(features: torch.Tensor) -> float:
    """Decay of the covariance's eigenvalues, eigenvalue i ~ i ** -alpha (Agrawal et al. 2022, sec. 2).

    The slope of a least-squares line through log eigenvalues over log index, over those above a millionth of the
    largest. Their finding: features serve best near 1; far above it a few directions hold everything.

    Args:
        features: (N, D), any floating dtype; centred here.
    """
    eigenvalues = _variances(features)
    eigenvalues = eigenvalues[eigenvalues > 1e-6 * eigenvalues[0]]
    index = torch.arange(1, len(eigenvalues) + 1, dtype=torch.float64, device=eigenvalues.device).log()
    index = index - index.mean()
    spread = index.square().sum()
    return 0.0 if spread == 0 else -(index @ eigenvalues.log() / spread).item()


def _variances(features: torch.Tensor) -> torch.Tensor:
    """Eigenvalues of the features' scatter matrix (D, D), largest first, float64."""
    features = features.double()
    features = features - features.mean(dim=0)
    return torch.linalg.eigvalsh(features.T @ features).flip(0).clamp_min(0)
