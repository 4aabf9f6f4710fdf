"""BitDose."""
