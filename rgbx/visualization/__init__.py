"""Images for people: palettes, overlays, panels, legends, curves, sheets."""
