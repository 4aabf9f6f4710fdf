"""Loss: class-weighted cross-entropy, optionally with distillation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bitdose.errors import UsageError, argument
from bitdose.training.recipe import parse_class_weights


def class_weights(
    rule: str, labels: Sequence[str], counted: Sequence[str], paper: Mapping[str, float]
) -> list[float]:
    """Return a weight per label.

    Parameters
    ----------
    rule : str
        ``paper``, ``balanced``, ``none`` or ``label=weight,...``.
    labels : sequence of str
        Labels in the network's order.
    counted : sequence of str
        Label of each training case, for ``balanced``: n / (K n_k).
    paper : mapping of str to float
        Published weights.

    Raises
    ------
    UsageError
        If the list lacks a label, or names another one.

    Examples
    --------
    >>> class_weights("balanced", ["a", "b"], ["a", "a", "a", "b"], {})
    [0.6666666666666666, 2.0]
    """
    parsed = parse_class_weights(rule)
    if parsed == "none":
        return [1.0] * len(labels)
    if parsed == "paper" and set(paper) == set(labels):
        return [paper[label] for label in labels]
    if isinstance(parsed, str):
        counts = Counter(counted)
        return [len(counted) / (len(labels) * counts[label]) if counts[label] else 0.0 for label in labels]
    if set(parsed) != set(labels):
        raise UsageError(
            f"{argument('class_weights')}: expected a weight for each of {list(labels)}, got {list(parsed)}"
        )
    return [parsed[label] for label in labels]


def batch_loss(
    logits: Any,
    labels: Any,
    weights: Any,
    *,
    teacher: Any = None,
    distill: float = 0.0,
    temperature: float = 1.0,
) -> Any:
    """Return the loss of a batch, summed; the caller divides by the sum of the step's weights.

    ``(1 - d) w_y CE(y, p) + d T² w_y KL(teacher_T || p_T)`` summed over the batch, so that a step
    of several batches has the loss of one large batch.

    Parameters
    ----------
    logits : torch.Tensor
        ``(N, K)`` float32.
    labels : torch.Tensor
        ``(N,)`` int64.
    weights : torch.Tensor
        ``(K,)``.
    teacher : torch.Tensor, optional
        ``(N, K)`` log probabilities.
    distill, temperature : float
        d and T.
    """
    from torch.nn import functional

    if teacher is None:
        return functional.cross_entropy(logits, labels, weight=weights, reduction="sum")
    hard = functional.cross_entropy(logits, labels, weight=weights, reduction="none")
    student = functional.log_softmax(logits / temperature, dim=1)
    soft = functional.log_softmax(teacher / temperature, dim=1)
    divergence = functional.kl_div(student, soft, log_target=True, reduction="none").sum(dim=1)
    return ((1 - distill) * hard + distill * temperature**2 * weights[labels] * divergence).sum()
