"""From an image's file to arrays, losing nothing."""
