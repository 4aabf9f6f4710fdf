"""A rule: margins, alpha, unit of resampling and order, fixed before a run."""
