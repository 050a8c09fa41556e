"""Configuration files and options: parsed, checked, built; what is wrong, in one sentence."""
