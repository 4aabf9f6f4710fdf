"""Search: a race of a study's candidate points that measures only what can change the decision."""
