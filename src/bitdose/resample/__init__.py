"""Resize arrays: the kernels, and the same sums as polyphase filters."""
