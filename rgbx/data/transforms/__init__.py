"""Augmentation, resizing and normalisation: rgb, x and mask always move together."""
