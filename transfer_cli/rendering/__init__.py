"""Shared drawing: HTML page, thumbnails, SVG charts, palette, PNG."""
