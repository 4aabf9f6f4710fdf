"""Where cases run: this process, worker processes."""
