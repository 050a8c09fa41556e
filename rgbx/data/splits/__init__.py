"""Which files belong to which split, and how they pair."""
