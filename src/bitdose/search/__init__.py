"""Search: race the candidate points of a study so that only what can change the decision is measured."""
