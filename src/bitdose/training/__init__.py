"""Training the reference networks, or the user's own, on a labelled image set (extra ``[torch]``)."""
