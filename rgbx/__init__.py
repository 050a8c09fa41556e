"""rgbx: adapt vision foundation models to segmentation with two cameras."""

__version__ = "0.1.0"
__all__ = ["__version__"]
