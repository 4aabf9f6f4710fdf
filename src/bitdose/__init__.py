"""BitDose: how few bits can a diagnosis survive on? Research use only, not a medical device."""

__version__ = "0.2.0"
