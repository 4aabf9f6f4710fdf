"""From a spec to a plan to a run folder."""
