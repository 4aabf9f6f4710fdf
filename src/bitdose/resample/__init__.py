"""Resize arrays: the kernels, and two of them by powers of two in C."""
