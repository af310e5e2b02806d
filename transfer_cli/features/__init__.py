"""Features of images: extraction through the cache, nearest neighbours, t-SNE map (`similar`, `map`)."""
