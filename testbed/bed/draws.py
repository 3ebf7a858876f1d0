"""Draws that benign and hostile behaviours share, so that neither is told by the shape of its choices."""


def log_uniform(rng, low: float, high: float) -> float:
    """A number between two positive ones, small ones as often as great ones."""
    return low * (high / low) ** rng.random()
