"""`explain`: saliency maps and whether they are faithful."""
